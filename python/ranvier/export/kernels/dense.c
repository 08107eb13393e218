/* y[r][o] = b[o] + sum over i of x[r][i] w[o][i]; b may be NULL. Sums of 32 terms each are added up, which has a
   smaller rounding error than one long sum. */
static void linear(const float *x, const float *w, const float *b, float *y, int rows, int in, int out)
{
    for (int r = 0; r < rows; r++, x += in) {
        const float *row = w;
        for (int o = 0; o < out; o++) {
            float sum = b ? b[o] : 0.0f;
            for (int i = 0; i < in;) {
                float part = 0.0f;
                for (int end = in - i > 32 ? i + 32 : in; i < end; i++) part += x[i] * *row++;
                sum += part;
            }
            *y++ = sum;
        }
    }
}

/* dx[r][i] = sum over o of dy[r][o] w[o][i] */
static void linear_dx(const float *dy, const float *w, float *dx, int rows, int in, int out)
{
    for (int r = 0; r < rows; r++, dx += in, dy += out) {
        for (int i = 0; i < in; i++) {
            float sum = 0.0f;
            for (int o = 0; o < out; o++) sum += dy[o] * w[o * in + i];
            dx[i] = sum;
        }
    }
}

/* dw[o][i] = sum over r of dy[r][o] x[r][i] */
static void linear_dw(const float *dy, const float *x, float *dw, int rows, int in, int out)
{
    for (int o = 0; o < out; o++) {
        for (int i = 0; i < in; i++) {
            float sum = 0.0f;
            for (int r = 0; r < rows; r++) sum += dy[r * out + o] * x[r * in + i];
            *dw++ = sum;
        }
    }
}

/* y = a b for each batch: a (m, k), b (k, n), y (m, n). a_step and b_step: elements from one matrix to the next, from
   one row to the next, and from one column to the next. So a and b may be transposed, or the same for all batches. */
static void matmul(const float *a, const float *b, float *y, int batches, int m, int k, int n, const int *a_step,
                   const int *b_step)
{
    for (int l = 0; l < batches; l++, a += a_step[0], b += b_step[0]) {
        for (int i = 0; i < m; i++) {
            for (int j = 0; j < n; j++) {
                float sum = 0.0f;
                for (int p = 0; p < k; p++)
                    sum += a[i * a_step[1] + p * a_step[2]] * b[p * b_step[1] + j * b_step[2]];
                *y++ = sum;
            }
        }
    }
}

/* y[o][i] = scale times the sum over j of x[o][j][i] */
static void sum_axis(const float *x, float *y, int outer, int n, int inner, float scale)
{
    for (int o = 0; o < outer; o++, x += n * inner) {
        for (int i = 0; i < inner; i++) {
            float sum = 0.0f;
            for (int j = 0; j < n; j++) sum += x[j * inner + i];
            *y++ = sum * scale;
        }
    }
}

/* y[...] = x[...] over four axes of n[axis] indices; y_step, x_step: elements from one index to the next */
static void copy(float *y, const float *x, const int *n, const int *y_step, const int *x_step)
{
    for (int a = 0; a < n[0]; a++)
        for (int b = 0; b < n[1]; b++)
            for (int c = 0; c < n[2]; c++)
                for (int d = 0; d < n[3]; d++)
                    y[a * y_step[0] + b * y_step[1] + c * y_step[2] + d * y_step[3]] =
                        x[a * x_step[0] + b * x_step[1] + c * x_step[2] + d * x_step[3]];
}

/* y[...] += x[...], with arguments as of copy */
static void copy_add(float *y, const float *x, const int *n, const int *y_step, const int *x_step)
{
    for (int a = 0; a < n[0]; a++)
        for (int b = 0; b < n[1]; b++)
            for (int c = 0; c < n[2]; c++)
                for (int d = 0; d < n[3]; d++)
                    y[a * y_step[0] + b * y_step[1] + c * y_step[2] + d * y_step[3]] +=
                        x[a * x_step[0] + b * x_step[1] + c * x_step[2] + d * x_step[3]];
}

/* y[i] = value */
static void fill(float *y, int n, float value)
{
    for (int i = 0; i < n; i++) y[i] = value;
}

/* y[i] = x[i] */
static void copy_all(const float *x, float *y, int n)
{
    for (int i = 0; i < n; i++) y[i] = x[i];
}

/* y[r] = table[index[r]], rows of `width` elements; the table has `count` rows, an index outside of it gives zeros */
static void embedding(const float *table, const int32_t *index, float *y, int rows, int count, int width)
{
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < width; i++)
            *y++ = index[r] >= 0 && index[r] < count ? table[index[r] * width + i] : 0.0f;
}

/* dtable[index[r]] += dy[r]; nothing is added to the row `padding` */
static void embedding_backward(const float *dy, const int32_t *index, float *dtable, int rows, int count, int width,
                               int padding)
{
    for (int i = 0; i < count * width; i++) dtable[i] = 0.0f;
    for (int r = 0; r < rows; r++, dy += width)
        if (index[r] >= 0 && index[r] < count && index[r] != padding)
            for (int i = 0; i < width; i++) dtable[index[r] * width + i] += dy[i];
}

/* y[i] = x[index[i]], 0 where the index is -1 */
static void picked(const float *x, const int32_t *index, float *y, int n)
{
    for (int i = 0; i < n; i++) y[i] = index[i] < 0 ? 0.0f : x[index[i]];
}

/* dx[index[i]] += dy[i] */
static void picked_backward(const float *dy, const int32_t *index, float *dx, int n)
{
    for (int i = 0; i < n; i++)
        if (index[i] >= 0) dx[index[i]] += dy[i];
}

/* y[i] = the sum of weights[j] x[index[j]] from j = starts[i] on, before starts[i + 1] */
static void weighted_sums(const float *x, const int32_t *index, const int32_t *starts, const float *weights, float *y,
                          int n)
{
    for (int i = 0; i < n; i++) {
        float sum = 0.0f;
        for (int j = starts[i]; j < starts[i + 1]; j++) sum += weights[j] * x[index[j]];
        y[i] = sum;
    }
}

/* dx[index[j]] += weights[j] dy[i] */
static void weighted_sums_backward(const float *dy, const int32_t *index, const int32_t *starts, const float *weights,
                                   float *dx, int n)
{
    for (int i = 0; i < n; i++)
        for (int j = starts[i]; j < starts[i + 1]; j++) dx[index[j]] += weights[j] * dy[i];
}

/* y[o][i] = the greatest of x[o][j][i] over j, or with sign -1 the least; NaN if one of them is NaN */
static void extreme(const float *x, float *y, int outer, int n, int inner, float sign)
{
    for (int o = 0; o < outer; o++, x += n * inner) {
        for (int i = 0; i < inner; i++) {
            float most = x[i];
            for (int j = 1; j < n; j++) {
                const float next = x[j * inner + i];
                if (next * sign > most * sign || next != next) most = next;
            }
            *y++ = most;
        }
    }
}

/* dy is divided equally among the x[o][j][i] that equal y[o][i] (NaN equals NaN here); spread_nan: dx is NaN if y is */
static void extreme_backward(const float *dy, const float *x, const float *y, float *dx, int outer, int n, int inner,
                             int spread_nan)
{
    for (int o = 0; o < outer; o++, x += n * inner, dx += n * inner) {
        for (int i = 0; i < inner; i++, y++, dy++) {
            int count = 0;
            for (int j = 0; j < n; j++) count += x[j * inner + i] == *y || (*y != *y && x[j * inner + i] != x[j * inner + i]);
            for (int j = 0; j < n; j++) {
                const float one = x[j * inner + i];
                const int takes = one == *y || (*y != *y && one != one);
                dx[j * inner + i] = spread_nan && *y != *y ? *y : takes ? *dy / (float)count : 0.0f;
            }
        }
    }
}
