/* The sizes of a convolution or pool. The input has n samples of `in` channels with h x w elements, the result `out`
   channels with out_h x out_w; a window has kh x kw elements, step_h and step_w apart (the dilation). */
struct window {
    int n, in, h, w, out, out_h, out_w, kh, kw, stride_h, stride_w, pad_h, pad_w, step_h, step_w, groups;
};

/* A convolution: the weights are [out][in / groups][kh][kw]. */
static void conv2d(const float *x, const float *weight, const float *bias, float *y, const struct window *s)
{
    const int in = s->in / s->groups, out = s->out / s->groups;
    for (int n = 0; n < s->n; n++) {
        for (int o = 0; o < s->out; o++) {
            const float *image = x + (n * s->in + o / out * in) * s->h * s->w;
            for (int i = 0; i < s->out_h * s->out_w; i++) {
                const int top = i / s->out_w * s->stride_h - s->pad_h;
                const int left = i % s->out_w * s->stride_w - s->pad_w;
                const float *k = weight + o * in * s->kh * s->kw;
                float sum = bias ? bias[o] : 0.0f;
                for (int c = 0; c < in; c++) {
                    float part = 0.0f; /* the sum of one channel: a sum of such sums has a smaller rounding error */
                    for (int r = top; r < top + s->kh * s->step_h; r += s->step_h) {
                        for (int q = left; q < left + s->kw * s->step_w; q += s->step_w, k++)
                            if (r >= 0 && r < s->h && q >= 0 && q < s->w) part += image[(c * s->h + r) * s->w + q] * *k;
                    }
                    sum += part;
                }
                *y++ = sum;
            }
        }
    }
}

/* The gradients of a convolution; dx, dweight and dbias may be NULL. */
static void conv2d_backward(const float *dy, const float *x, const float *weight, float *dx, float *dweight,
                            float *dbias, const struct window *s)
{
    const int in = s->in / s->groups, out = s->out / s->groups, size = s->h * s->w, kernel = in * s->kh * s->kw;
    for (int i = 0; dx && i < s->n * s->in * size; i++) dx[i] = 0.0f;
    for (int i = 0; dweight && i < s->out * kernel; i++) dweight[i] = 0.0f;
    for (int i = 0; dbias && i < s->out; i++) dbias[i] = 0.0f;
    for (int n = 0; n < s->n; n++) {
        for (int o = 0; o < s->out; o++) {
            const int image = (n * s->in + o / out * in) * size;
            for (int i = 0; i < s->out_h * s->out_w; i++) {
                const int top = i / s->out_w * s->stride_h - s->pad_h;
                const int left = i % s->out_w * s->stride_w - s->pad_w;
                const float d = *dy++;
                int k = o * kernel;
                if (dbias) dbias[o] += d;
                for (int c = 0; c < in; c++) {
                    for (int r = top; r < top + s->kh * s->step_h; r += s->step_h) {
                        for (int q = left; q < left + s->kw * s->step_w; q += s->step_w, k++) {
                            if (r < 0 || r >= s->h || q < 0 || q >= s->w) continue;
                            const int at = image + (c * s->h + r) * s->w + q;
                            if (dx) dx[at] += d * weight[k];
                            if (dweight) dweight[k] += d * x[at];
                        }
                    }
                }
            }
        }
    }
}

/* The index in the image of the maximum of the window that begins at row `top` and column `left`: the first of equal
   ones. If there are NaN, it is the last NaN. */
static int max_place(const float *image, int top, int left, const struct window *s)
{
    int place = -1;
    for (int r = top; r < top + s->kh * s->step_h; r += s->step_h) {
        for (int q = left; q < left + s->kw * s->step_w; q += s->step_w) {
            const int at = r * s->w + q;
            if (r < 0 || r >= s->h || q < 0 || q >= s->w) continue;
            if (place < 0 || image[at] > image[place] || image[at] != image[at]) place = at;
        }
    }
    return place;
}

/* y = the maximum of each window */
static void max_pool(const float *x, float *y, const struct window *s)
{
    for (int n = 0; n < s->n * s->in; n++, x += s->h * s->w)
        for (int i = 0; i < s->out_h; i++)
            for (int j = 0; j < s->out_w; j++)
                *y++ = x[max_place(x, i * s->stride_h - s->pad_h, j * s->stride_w - s->pad_w, s)];
}

/* dx gets dy where the maximum is. */
static void max_pool_backward(const float *dy, const float *x, float *dx, const struct window *s)
{
    for (int n = 0; n < s->n * s->in; n++, x += s->h * s->w, dx += s->h * s->w) {
        for (int i = 0; i < s->h * s->w; i++) dx[i] = 0.0f;
        for (int i = 0; i < s->out_h; i++)
            for (int j = 0; j < s->out_w; j++)
                dx[max_place(x, i * s->stride_h - s->pad_h, j * s->stride_w - s->pad_w, s)] += *dy++;
    }
}

/* The rows (or columns) *from <= r < *to of the image that are in window i. Returns how many rows the mean divides by:
   those in the image, or with with_pad also those in the padding. */
static int pool_range(int i, int stride, int pad, int kernel, int size, int with_pad, int *from, int *to)
{
    const int first = i * stride - pad, end = first + kernel;
    *from = first > 0 ? first : 0;
    *to = end < size ? end : size;
    return with_pad ? (end < size + pad ? end : size + pad) - first : *to - *from;
}

/* y = the mean of each window; with_pad: the padding counts as zeros */
static void avg_pool(const float *x, float *y, const struct window *s, int with_pad)
{
    int r0, r1, q0, q1;
    for (int n = 0; n < s->n * s->in; n++, x += s->h * s->w) {
        for (int i = 0; i < s->out_h * s->out_w; i++) {
            int count = pool_range(i / s->out_w, s->stride_h, s->pad_h, s->kh, s->h, with_pad, &r0, &r1);
            count *= pool_range(i % s->out_w, s->stride_w, s->pad_w, s->kw, s->w, with_pad, &q0, &q1);
            float sum = 0.0f;
            for (int r = r0; r < r1; r++)
                for (int q = q0; q < q1; q++) sum += x[r * s->w + q];
            *y++ = sum / (float)count;
        }
    }
}

/* dx gets its share of the dy of each window. */
static void avg_pool_backward(const float *dy, float *dx, const struct window *s, int with_pad)
{
    int r0, r1, q0, q1;
    for (int n = 0; n < s->n * s->in; n++, dx += s->h * s->w) {
        for (int i = 0; i < s->h * s->w; i++) dx[i] = 0.0f;
        for (int i = 0; i < s->out_h * s->out_w; i++) {
            int count = pool_range(i / s->out_w, s->stride_h, s->pad_h, s->kh, s->h, with_pad, &r0, &r1);
            count *= pool_range(i % s->out_w, s->stride_w, s->pad_w, s->kw, s->w, with_pad, &q0, &q1);
            const float share = *dy++ / (float)count;
            for (int r = r0; r < r1; r++)
                for (int q = q0; q < q1; q++) dx[r * s->w + q] += share;
        }
    }
}
