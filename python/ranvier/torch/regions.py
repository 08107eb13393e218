"""torchvision's compiled operators, `torch.ops.torchvision`."""
from ranvier.torch.operators import Library

_ROI = "Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width"
_SIZE = "SymInt batch_size, SymInt channels, SymInt height, SymInt width"
_BACK = f"Tensor grad, {_ROI}"
_DEFORM = """\
    Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, SymInt stride_h, SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, SymInt dilation_w, SymInt groups, SymInt offset_groups, bool use_mask"""
_BOTH = "input_scale"
_library = Library("torchvision", "DEF")
_SCHEMAS = f"""
_cuda_version() -> int
nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor
qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor
roi_align(Tensor input, {_ROI}, int sampling_ratio, bool aligned) -> Tensor
roi_pool(Tensor input, {_ROI}) -> (Tensor, Tensor)
ps_roi_align(Tensor input, {_ROI}, int sampling_ratio) -> (Tensor, Tensor)
ps_roi_pool(Tensor input, {_ROI}) -> (Tensor, Tensor)
deform_conv2d({_DEFORM}) -> Tensor
_roi_align_backward(Tensor grad) -> Tensor
_roi_pool_backward(Tensor grad) -> Tensor
_ps_roi_align_backward(Tensor grad) -> Tensor
_ps_roi_pool_backward(Tensor grad) -> Tensor
_deform_conv2d_backward(Tensor grad) -> Tensor
qroi_align(Tensor input) -> Tensor
box_iou_rotated(Tensor boxes1, Tensor boxes2) -> Tensor
"""
for _schema in _SCHEMAS.strip().splitlines():
    _library.define(_schema.replace("\n", " "))
_library.impl("_cuda_version", lambda: -1)
