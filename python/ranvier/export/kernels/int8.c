/* value rounded, plus zero, limited to low .. 127; NaN becomes low */
static int8_t to_int8(float value, int zero, int low)
{
    const float moved = rintf(value) + (float)zero;
    return (int8_t)(moved > (float)low ? (moved < 127.0f ? (int)moved : 127) : low);
}

/* q = x / scale + zero, where inverse = 1 / scale */
static void quantize(const float *x, int8_t *q, int n, float inverse, int zero)
{
    for (int i = 0; i < n; i++) q[i] = to_int8(x[i] * inverse, zero, -128);
}

/* y = scale (q - zero) */
static void dequantize(const int8_t *q, float *y, int n, float scale, int zero)
{
    for (int i = 0; i < n; i++) y[i] = scale * (float)(q[i] - zero);
}

/* q = max(x, low) */
static void clip_int8(const int8_t *x, int8_t *q, int n, int low)
{
    for (int i = 0; i < n; i++) q[i] = (int8_t)(x[i] > low ? x[i] : low);
}

/* sum[r][o] = bias[o] + sum over i of x[r][i] w[o][i]. The result factor[o] sum[r][o] is written to q as int8 (plus
   zero, at least low), or to y as float; the other of the two is NULL. */
static void linear_int8(const int8_t *x, const int8_t *w, const int32_t *bias, const float *factor, int8_t *q, float *y,
                        int rows, int in, int out, int zero, int low)
{
    for (int r = 0; r < rows; r++, x += in) {
        for (int o = 0; o < out; o++) {
            const int8_t *row = w + o * in;
            int32_t sum = bias[o];
            for (int i = 0; i < in; i++) sum += x[i] * row[i];
            if (q)
                *q++ = to_int8((float)sum * factor[o], zero, low);
            else
                *y++ = (float)sum * factor[o];
        }
    }
}

/* A convolution whose sums become results as in linear_int8; in the padding x is `edge`, which stands for 0. */
static void conv2d_int8(const int8_t *x, const int8_t *w, const int32_t *bias, const float *factor, int8_t *q, float *y,
                        const struct window *s, int edge, int zero, int low)
{
    const int in = s->in / s->groups, out = s->out / s->groups;
    for (int n = 0; n < s->n; n++) {
        for (int o = 0; o < s->out; o++) {
            const int8_t *image = x + (n * s->in + o / out * in) * s->h * s->w;
            for (int i = 0; i < s->out_h * s->out_w; i++) {
                const int top = i / s->out_w * s->stride_h - s->pad_h;
                const int left = i % s->out_w * s->stride_w - s->pad_w;
                const int8_t *k = w + o * in * s->kh * s->kw;
                int32_t sum = bias[o];
                for (int c = 0; c < in; c++)
                    for (int r = top; r < top + s->kh * s->step_h; r += s->step_h)
                        for (int p = left; p < left + s->kw * s->step_w; p += s->step_w, k++) {
                            const int inside = r >= 0 && r < s->h && p >= 0 && p < s->w;
                            sum += (inside ? image[(c * s->h + r) * s->w + p] : edge) * *k;
                        }
                if (q)
                    *q++ = to_int8((float)sum * factor[o], zero, low);
                else
                    *y++ = (float)sum * factor[o];
            }
        }
    }
}

/* The maximum of each window. */
static void max_pool_int8(const int8_t *x, int8_t *q, const struct window *s)
{
    for (int c = 0; c < s->n * s->in; c++, x += s->h * s->w) {
        for (int i = 0; i < s->out_h * s->out_w; i++) {
            const int top = i / s->out_w * s->stride_h - s->pad_h;
            const int left = i % s->out_w * s->stride_w - s->pad_w;
            int most = -128;
            for (int r = top; r < top + s->kh * s->step_h; r += s->step_h)
                for (int p = left; p < left + s->kw * s->step_w; p += s->step_w)
                    if (r >= 0 && r < s->h && p >= 0 && p < s->w && x[r * s->w + p] > most) most = x[r * s->w + p];
            *q++ = (int8_t)most;
        }
    }
}
