/* y = x scale[c] + shift[c] for x [n][channels][inner] and its channels c: a batch norm with fixed statistics */
static void scale_shift(const float *x, const float *scale, const float *shift, float *y, int n, int channels,
                        int inner)
{
    for (int i = 0; i < n * channels; i++)
        for (int j = 0; j < inner; j++) *y++ = *x++ * scale[i % channels] + shift[i % channels];
}

/* y = (x - mean) / sqrt(var + eps) w + b with the running statistics of each channel; w and b may be NULL */
static void batch_norm_eval(const float *x, const float *w, const float *b, const float *mean, const float *var,
                            float *y, int n, int channels, int inner, float eps)
{
    for (int i = 0; i < n * channels; i++) {
        const int c = i % channels;
        const float scale = (w ? w[c] : 1.0f) / sqrtf(var[c] + eps);
        for (int j = 0; j < inner; j++) *y++ = (*x++ - mean[c]) * scale + (b ? b[c] : 0.0f);
    }
}

/* A batch norm of x [n][channels][inner] with the statistics of the batch, which are written to mean and rstd
   (1 / sqrt(var + eps)). running_mean and running_var move towards them. These two, and w and b, may be NULL. */
static void batch_norm(const float *x, const float *w, const float *b, float *running_mean, float *running_var,
                       float *y, float *mean, float *rstd, int n, int channels, int inner, float momentum, float eps)
{
    const int count = n * inner, next = channels * inner;
    for (int c = 0; c < channels; c++, x += inner, y += inner) {
        float sum = 0.0f, squares = 0.0f;
        for (int i = 0; i < n; i++)
            for (int j = 0; j < inner; j++) sum += x[i * next + j];
        mean[c] = sum / (float)count;
        for (int i = 0; i < n; i++)
            for (int j = 0; j < inner; j++) squares += (x[i * next + j] - mean[c]) * (x[i * next + j] - mean[c]);
        rstd[c] = 1.0f / sqrtf(squares / (float)count + eps);
        if (running_mean) {
            running_mean[c] += momentum * (mean[c] - running_mean[c]);
            running_var[c] += momentum * (squares / (float)(count - 1) - running_var[c]);
        }
        for (int i = 0; i < n; i++)
            for (int j = 0; j < inner; j++)
                y[i * next + j] = (x[i * next + j] - mean[c]) * rstd[c] * (w ? w[c] : 1.0f) + (b ? b[c] : 0.0f);
    }
}

/* The gradients of a batch norm; dw and db may be NULL. */
static void batch_norm_backward(const float *dy, const float *x, const float *w, const float *mean, const float *rstd,
                                float *dx, float *dw, float *db, int n, int channels, int inner)
{
    const int count = n * inner, next = channels * inner;
    for (int c = 0; c < channels; c++, x += inner, dy += inner, dx += inner) {
        float sum = 0.0f, product = 0.0f;
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < inner; j++) {
                sum += dy[i * next + j];
                product += dy[i * next + j] * (x[i * next + j] - mean[c]) * rstd[c];
            }
        }
        if (dw) dw[c] = product;
        if (db) db[c] = sum;
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < inner; j++) {
                const float away = (x[i * next + j] - mean[c]) * rstd[c];
                dx[i * next + j] =
                    (dy[i * next + j] - (sum + away * product) / (float)count) * rstd[c] * (w ? w[c] : 1.0f);
            }
        }
    }
}

/* y = (x - mean) / sqrt(var + eps) w + b, with mean and variance over each row of `size` elements. centre 0: the mean
   is taken to be 0 (RMS norm). Element i of x (over all rows) has the weight number i / inner % count. The mean and
   1 / sqrt(var + eps) of each row are written to stats [rows][2]. w and b may be NULL. */
static void normalize(const float *x, const float *w, const float *b, float *y, float *stats, int rows, int size,
                      int inner, int count, int centre, float eps)
{
    for (int r = 0; r < rows; r++) {
        float sum = 0.0f, squares = 0.0f;
        for (int i = 0; centre && i < size; i++) sum += x[r * size + i];
        const float mean = sum / (float)size;
        for (int i = 0; i < size; i++) squares += (x[r * size + i] - mean) * (x[r * size + i] - mean);
        const float rstd = 1.0f / sqrtf(squares / (float)size + eps);
        stats[2 * r] = mean;
        stats[2 * r + 1] = rstd;
        for (int i = r * size; i < (r + 1) * size; i++) {
            const int c = i / inner % count;
            y[i] = (x[i] - mean) * rstd * (w ? w[c] : 1.0f) + (b ? b[c] : 0.0f);
        }
    }
}

/* The gradients of normalize; dw and db may be NULL. */
static void normalize_backward(const float *dy, const float *x, const float *w, const float *stats, float *dx,
                               float *dw, float *db, int rows, int size, int inner, int count, int centre)
{
    for (int c = 0; dw && c < count; c++) dw[c] = 0.0f;
    for (int c = 0; db && c < count; c++) db[c] = 0.0f;
    for (int r = 0; r < rows; r++) {
        const float mean = stats[2 * r], rstd = stats[2 * r + 1];
        float sum = 0.0f, product = 0.0f;
        for (int i = r * size; i < (r + 1) * size; i++) {
            const int c = i / inner % count;
            const float d = dy[i] * (w ? w[c] : 1.0f), away = (x[i] - mean) * rstd;
            if (centre) sum += d;
            product += d * away;
            if (dw) dw[c] += dy[i] * away;
            if (db) db[c] += dy[i];
        }
        for (int i = r * size; i < (r + 1) * size; i++) {
            const float d = dy[i] * (w ? w[i / inner % count] : 1.0f);
            dx[i] = (d - (sum + (x[i] - mean) * rstd * product) / (float)size) * rstd;
        }
    }
}

/* y = exp(x) / sum of exp(x) along the middle axis of [outer][n][inner] */
static void softmax(const float *x, float *y, int outer, int n, int inner)
{
    for (int o = 0; o < outer * inner; o++) {
        const int at = o / inner * n * inner + o % inner;
        float most = x[at], sum = 0.0f;
        for (int i = 1; i < n; i++) most = x[at + i * inner] > most ? x[at + i * inner] : most;
        for (int i = 0; i < n; i++) sum += y[at + i * inner] = expf(x[at + i * inner] - most);
        for (int i = 0; i < n; i++) y[at + i * inner] /= sum;
    }
}

/* y = x - log(sum of exp(x)) along the middle axis of [outer][n][inner] */
static void log_softmax(const float *x, float *y, int outer, int n, int inner)
{
    for (int o = 0; o < outer * inner; o++) {
        const int at = o / inner * n * inner + o % inner;
        float most = x[at], sum = 0.0f;
        for (int i = 1; i < n; i++) most = x[at + i * inner] > most ? x[at + i * inner] : most;
        for (int i = 0; i < n; i++) sum += expf(x[at + i * inner] - most);
        sum = logf(sum);
        for (int i = 0; i < n; i++) y[at + i * inner] = x[at + i * inner] - most - sum;
    }
}

/* dx = y (dy - sum of dy y) */
static void softmax_backward(const float *dy, const float *y, float *dx, int outer, int n, int inner)
{
    for (int o = 0; o < outer * inner; o++) {
        const int at = o / inner * n * inner + o % inner;
        float sum = 0.0f;
        for (int i = 0; i < n; i++) sum += dy[at + i * inner] * y[at + i * inner];
        for (int i = 0; i < n; i++) dx[at + i * inner] = y[at + i * inner] * (dy[at + i * inner] - sum);
    }
}

/* dx = dy - exp(y) sum of dy */
static void log_softmax_backward(const float *dy, const float *y, float *dx, int outer, int n, int inner)
{
    for (int o = 0; o < outer * inner; o++) {
        const int at = o / inner * n * inner + o % inner;
        float sum = 0.0f;
        for (int i = 0; i < n; i++) sum += dy[at + i * inner];
        for (int i = 0; i < n; i++) dx[at + i * inner] = dy[at + i * inner] - expf(y[at + i * inner]) * sum;
    }
}

/* The mean (or sum) over samples of log(sum of exp(x)) - x[target]; a target `ignored` does not count. p, if not NULL,
   gets the gradient of x for a gradient of 1. */
static void cross_entropy(const float *x, const int32_t *target, float *y, float *p, int n, int classes, int ignored,
                          int mean)
{
    float total = 0.0f;
    int count = 0;
    for (int r = 0; r < n; r++) count += target[r] != ignored;
    const float scale = mean ? 1.0f / (float)count : 1.0f;
    for (int r = 0; r < n; r++, x += classes) {
        const int used = target[r] != ignored;
        float most = x[0], sum = 0.0f;
        for (int i = 1; i < classes; i++) most = x[i] > most ? x[i] : most;
        for (int i = 0; i < classes; i++) sum += expf(x[i] - most);
        if (used) total += logf(sum) + most - x[target[r]];
        for (int i = 0; p && i < classes; i++)
            *p++ = used ? (expf(x[i] - most) / sum - (i == target[r] ? 1.0f : 0.0f)) * scale : 0.0f;
    }
    *y = total * scale;
}

/* The mean (or sum) over samples of -x[target]; a target `ignored` does not count. dx, if not NULL, gets the gradient
   of x for a gradient of 1. */
static void nll(const float *x, const int32_t *target, float *y, float *dx, int n, int classes, int ignored, int mean)
{
    float total = 0.0f;
    int count = 0;
    for (int r = 0; r < n; r++) count += target[r] != ignored;
    const float scale = mean ? 1.0f / (float)count : 1.0f;
    for (int r = 0; r < n; r++, x += classes) {
        const int used = target[r] != ignored;
        if (used) total -= x[target[r]];
        for (int i = 0; dx && i < classes; i++) *dx++ = used && i == target[r] ? -scale : 0.0f;
    }
    *y = total * scale;
}

/* y = x s[0] */
static void times(const float *x, const float *s, float *y, int n)
{
    for (int i = 0; i < n; i++) y[i] = x[i] * s[0];
}
