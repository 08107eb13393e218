"""The peers' code for an ISA level below the machine's own, so that like is compared with like.

Where RANVIER_ISA lowers ours, a peer gets the settings that lower its own; one without such settings is left
out.
"""

from __future__ import annotations

from ranvier import _core

from benchmarks.peers.process import Peer, PeerMissing

SETTINGS = {
    "x86-64-v3": {
        "numpy": {
            "OPENBLAS_CORETYPE": "Haswell",
            # for its own loops: the names of NumPy 2.4, then those of earlier versions, which it ignores
            "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR AVX512F AVX512CD AVX512_SKX AVX512_CLX "
            "AVX512_CNL",
        },
        "torch": {
            "ATEN_CPU_CAPABILITY": "avx2",
            "MKL_ENABLE_INSTRUCTIONS": "AVX2",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
        },
        # jax: none. Under --xla_cpu_max_isa=AVX2 its products of 1024^3 reach 108 GFLOP/s on a core whose
        # peak with AVX2 is 88, as without it.
        "nnengine": {},  # has no code for a higher level
    }
}


def at_level(peer: Peer, isa: str) -> Peer:
    """The peer as it comes at the machine's own level; below that with its settings for the level."""
    if isa == _core.supported_isas()[0]:
        return peer
    settings = SETTINGS.get(isa, {}).get(peer.library)
    if settings is None:
        raise PeerMissing(f"{peer.library} has no setting for {isa} code")
    if peer.options.get("compiled"):
        raise PeerMissing(f"torch.compile has wrong answers where ATEN_CPU_CAPABILITY asks for {isa}")
    return Peer(peer.library, peer.options, {**peer.environment, **settings})
