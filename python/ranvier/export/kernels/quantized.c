/* Number i of a row of a matrix of 8 bits, or of 4 bits: two in a byte, plus 8 */
static int weight_of(const int8_t *row, int i, int bits)
{
    return bits == 8 ? row[i] : (((row[i / 2] & 255) >> (i % 2 * 4)) & 15) - 8;
}

/* x = scale q for each group of the n numbers, where scale = max |x| / 127. 0 if they have an infinity, NaN, or a group
   of numbers that are too small. */
static int row_to_int8(const float *x, int8_t *q, float *scale, int n, int group)
{
    for (int begin = 0; begin < n; begin += group) {
        const int end = n - begin < group ? n : begin + group;
        float most = 0.0f;
        for (int i = begin; i < end; i++) {
            const float size = fabsf(x[i]);
            if (size > most || isnan(size)) most = size;
        }
        if (most != 0.0f && !(most > 0x1p-110f && most < INFINITY)) return 0;
        const float inverse = most > 0.0f ? 127.0f / most : 0.0f;
        for (int i = begin; i < end; i++) q[i] = (int8_t)rintf(x[i] * inverse);
        *scale++ = most / 127.0f;
    }
    return 1;
}

/* y[r][o] = bias[o] + sum over i of x[r][i] w[o][i] scale[o][i / group], where x becomes integers in q, with the scales
   x_scale. Sums of integers are exact. `one_scale`: each row of w has one. */
static void linear_quantized(const float *x, const int8_t *w, const float *scale, const float *bias, float *y, int8_t *q,
                             float *x_scale, int rows, int in, int out, int bits, int group, int one_scale)
{
    const int bytes = (in * bits + 7) / 8, groups = (in + group - 1) / group;
    for (int r = 0; r < rows; r++, x += in) {
        const int fits = row_to_int8(x, q, x_scale, in, group);
        for (int o = 0; o < out; o++) {
            const int8_t *row = w + o * bytes;
            const float start = bias ? bias[o] : 0.0f;
            float sum = fits && one_scale ? start : 0.0f;
            for (int g = 0, i = 0; g < groups; g++) {
                const float step = scale[o * groups + g];
                const int end = in - i < group ? in : i + group;
                int32_t whole = 0;
                for (; i < end; i++) {
                    const int number = weight_of(row, i, bits);
                    if (fits)
                        whole += q[i] * number;
                    else
                        sum += x[i] * ((float)number * step);
                }
                if (fits) sum = fmaf((float)whole, step * x_scale[g], sum);
            }
            *y++ = fits && one_scale ? sum : sum + start;
        }
    }
}

/* y[i] = row index[i] of a matrix (n, width) of few bits; zeros for an index outside */
static void embedding_quantized(const int8_t *w, const float *scale, const int32_t *index, float *y, int count, int n,
                                int width, int bits, int group)
{
    const int bytes = (width * bits + 7) / 8, groups = (width + group - 1) / group;
    for (int i = 0; i < count; i++) {
        const int inside = index[i] >= 0 && index[i] < n, row = inside ? index[i] : 0;
        for (int j = 0; j < width; j++) {
            const float step = scale[row * groups + j / group];
            *y++ = inside ? (float)weight_of(w + row * bytes, j, bits) * step : 0.0f;
        }
    }
}
