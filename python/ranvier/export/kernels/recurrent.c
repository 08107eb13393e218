/* 1 / (1 + exp(-x)) */
static float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

/* sums[o] = b[o] + sum over i of x[i] w[o][i]; b and x may be NULL */
static void gate_sums(const float *x, const float *w, const float *b, float *sums, int out, int in)
{
    for (int o = 0; o < out; o++) {
        sums[o] = b ? b[o] : 0.0f;
        for (int i = 0; x && i < in; i++) sums[o] += x[i] * w[o * in + i];
    }
}

/* The operands of a recurrent layer and its sizes. x [steps][n][in], h0 and c0 [n][hidden] or NULL, y
   [steps][n][hidden] gets the states h, w_ih [rows][in] and w_hh [rows][hidden] with `hidden` rows for each gate, b_ih
   and b_hh [rows] or NULL. keep 1: gates [steps][n][4][hidden] and c [steps][n][hidden] keep all steps for a backward
   pass; keep 0: gates has one row and c one step. u [rows] is memory for w_hh h of one sample. reverse: from the last
   step to the first. */
struct recurrent {
    const float *x, *h0, *c0, *w_ih, *w_hh, *b_ih, *b_hh;
    float *y, *c, *gates, *u;
    int steps, n, in, hidden, reverse, keep;
};

/* The gradients of a recurrent layer. dy: of y, or NULL. dh and dc [n][hidden]: on entry those of the last states, at
   the end those of h0 and c0. dx (or NULL) is written; the helpers add to dw_ih, dw_hh, db_ih and db_hh (or NULL). d:
   memory for the gradients of the gates of one sample; of a GRU twice as much. */
struct recurrent_gradients {
    const float *dy;
    float *dh, *dc, *dx, *dw_ih, *dw_hh, *db_ih, *db_hh, *d;
};

/* The state of sample b before step t: a row of `states`, or of `first` (which may be NULL) at the first step. */
static const float *state_before(const struct recurrent *s, const float *states, const float *first, int t, int b)
{
    const int before = s->reverse ? t + 1 : t - 1;
    if (before >= 0 && before < s->steps) return states + (before * s->n + b) * s->hidden;
    return first ? first + b * s->hidden : NULL;
}

/* Adds what one step of one sample contributes to the gradients of weights, biases and dx. dgx, dgh [out]: the
   gradients of w_ih x + b_ih and of w_hh h + b_hh; h: the state before (or NULL), whose gradient is added to dh. */
static void gates_backward(const struct recurrent *s, const struct recurrent_gradients *g, const float *dgx,
                           const float *dgh, const float *h, float *dh, int row, int out)
{
    const float *x = s->x + row * s->in;
    for (int o = 0; o < out; o++) {
        for (int i = 0; i < s->in; i++) g->dw_ih[o * s->in + i] += dgx[o] * x[i];
        for (int i = 0; h && i < s->hidden; i++) g->dw_hh[o * s->hidden + i] += dgh[o] * h[i];
        if (g->db_ih) g->db_ih[o] += dgx[o];
        if (g->db_hh) g->db_hh[o] += dgh[o];
    }
    for (int i = 0; g->dx && i < s->in; i++) {
        float sum = 0.0f;
        for (int o = 0; o < out; o++) sum += dgx[o] * s->w_ih[o * s->in + i];
        g->dx[row * s->in + i] = sum;
    }
    for (int i = 0; i < s->hidden; i++)
        for (int o = 0; o < out; o++) dh[i] += dgh[o] * s->w_hh[o * s->hidden + i];
}

/* Elman's network: h = tanh(w_ih x + b_ih + w_hh h + b_hh), or with relu in place of tanh */
static void rnn(const struct recurrent *s, int relu)
{
    for (int i = 0; i < s->steps; i++) {
        const int t = s->reverse ? s->steps - 1 - i : i;
        for (int b = 0; b < s->n; b++) {
            float *h = s->y + (t * s->n + b) * s->hidden;
            gate_sums(s->x + (t * s->n + b) * s->in, s->w_ih, s->b_ih, h, s->hidden, s->in);
            gate_sums(state_before(s, s->y, s->h0, t, b), s->w_hh, s->b_hh, s->u, s->hidden, s->hidden);
            for (int j = 0; j < s->hidden; j++) {
                h[j] += s->u[j];
                h[j] = relu ? (h[j] < 0.0f ? 0.0f : h[j]) : tanhf(h[j]);
            }
        }
    }
}

/* The gradients of rnn, from the last step to the first. */
static void rnn_backward(const struct recurrent *s, const struct recurrent_gradients *g, int relu)
{
    for (int i = s->steps - 1; i >= 0; i--) {
        const int t = s->reverse ? s->steps - 1 - i : i;
        for (int b = 0; b < s->n; b++) {
            const int row = t * s->n + b;
            const float *y = s->y + row * s->hidden;
            float *dh = g->dh + b * s->hidden;
            for (int j = 0; j < s->hidden; j++) {
                const float d = dh[j] + (g->dy ? g->dy[row * s->hidden + j] : 0.0f);
                g->d[j] = relu ? (y[j] > 0.0f ? d : 0.0f) : d * (1.0f - y[j] * y[j]);
                dh[j] = 0.0f;
            }
            gates_backward(s, g, g->d, g->d, state_before(s, s->y, s->h0, t, b), dh, row, s->hidden);
        }
    }
}

/* LSTM with gates in the order i, f, g, o: c = f c + i g; h = o tanh(c) */
static void lstm(const struct recurrent *s)
{
    const int size = s->hidden;
    for (int i = 0; i < s->steps; i++) {
        const int t = s->reverse ? s->steps - 1 - i : i;
        for (int b = 0; b < s->n; b++) {
            const int row = t * s->n + b;
            float *a = s->gates + (s->keep ? row : 0) * 4 * size, *c = s->c + (s->keep ? row : b) * size;
            const float *h = state_before(s, s->y, s->h0, t, b), *old = s->c0 ? s->c0 + b * size : NULL;
            if (i > 0) old = s->keep ? state_before(s, s->c, s->c0, t, b) : c;
            gate_sums(s->x + row * s->in, s->w_ih, s->b_ih, a, 4 * size, s->in);
            gate_sums(h, s->w_hh, s->b_hh, s->u, 4 * size, size);
            for (int j = 0; j < 4 * size; j++) {
                a[j] += s->u[j];
                a[j] = j / size == 2 ? tanhf(a[j]) : sigmoid(a[j]);
            }
            for (int j = 0; j < size; j++) {
                c[j] = (old ? a[size + j] * old[j] : 0.0f) + a[j] * a[2 * size + j];
                s->y[row * size + j] = a[3 * size + j] * tanhf(c[j]);
            }
        }
    }
}

/* The gradients of lstm, from the last step to the first. */
static void lstm_backward(const struct recurrent *s, const struct recurrent_gradients *g)
{
    const int size = s->hidden;
    for (int i = s->steps - 1; i >= 0; i--) {
        const int t = s->reverse ? s->steps - 1 - i : i;
        for (int b = 0; b < s->n; b++) {
            const int row = t * s->n + b;
            const float *a = s->gates + row * 4 * size, *c = s->c + row * size;
            const float *old = state_before(s, s->c, s->c0, t, b);
            float *dh = g->dh + b * size, *dc = g->dc + b * size;
            for (int j = 0; j < size; j++) {
                const float in = a[j], f = a[size + j], n = a[2 * size + j], out = a[3 * size + j], y = tanhf(c[j]);
                const float d = dh[j] + (g->dy ? g->dy[row * size + j] : 0.0f);
                const float e = dc[j] + d * out * (1.0f - y * y);
                g->d[j] = e * n * in * (1.0f - in);
                g->d[size + j] = old ? e * old[j] * f * (1.0f - f) : 0.0f;
                g->d[2 * size + j] = e * in * (1.0f - n * n);
                g->d[3 * size + j] = d * y * out * (1.0f - out);
                dc[j] = e * f;
                dh[j] = 0.0f;
            }
            gates_backward(s, g, g->d, g->d, state_before(s, s->y, s->h0, t, b), dh, row, 4 * size);
        }
    }
}

/* GRU with gates in the order r, z, n: n = tanh(w_ih x + b_ih + r (w_hh h + b_hh)); h = n + z (h - n). The fourth row
   of `gates` keeps w_hh h + b_hh of n. */
static void gru(const struct recurrent *s)
{
    const int size = s->hidden;
    for (int i = 0; i < s->steps; i++) {
        const int t = s->reverse ? s->steps - 1 - i : i;
        for (int b = 0; b < s->n; b++) {
            const int row = t * s->n + b;
            const float *h = state_before(s, s->y, s->h0, t, b);
            float *a = s->gates + (s->keep ? row : 0) * 4 * size;
            gate_sums(s->x + row * s->in, s->w_ih, s->b_ih, a, 3 * size, s->in);
            gate_sums(h, s->w_hh, s->b_hh, s->u, 3 * size, size);
            for (int j = 0; j < 2 * size; j++) a[j] = sigmoid(a[j] + s->u[j]);
            for (int j = 0; j < size; j++) {
                a[3 * size + j] = s->u[2 * size + j];
                a[2 * size + j] = tanhf(a[2 * size + j] + a[j] * a[3 * size + j]);
                s->y[row * size + j] = a[2 * size + j] + a[size + j] * ((h ? h[j] : 0.0f) - a[2 * size + j]);
            }
        }
    }
}

/* The gradients of gru, from the last step to the first. */
static void gru_backward(const struct recurrent *s, const struct recurrent_gradients *g)
{
    const int size = s->hidden;
    for (int i = s->steps - 1; i >= 0; i--) {
        const int t = s->reverse ? s->steps - 1 - i : i;
        for (int b = 0; b < s->n; b++) {
            const int row = t * s->n + b;
            const float *a = s->gates + row * 4 * size, *h = state_before(s, s->y, s->h0, t, b);
            float *dh = g->dh + b * size, *dgx = g->d, *dgh = g->d + 3 * size;
            for (int j = 0; j < size; j++) {
                const float r = a[j], z = a[size + j], n = a[2 * size + j];
                const float d = dh[j] + (g->dy ? g->dy[row * size + j] : 0.0f);
                const float e = d * (1.0f - z) * (1.0f - n * n);
                dgx[j] = dgh[j] = e * a[3 * size + j] * r * (1.0f - r);
                dgx[size + j] = dgh[size + j] = d * ((h ? h[j] : 0.0f) - n) * z * (1.0f - z);
                dgx[2 * size + j] = e;
                dgh[2 * size + j] = e * r;
                dh[j] = d * z;
            }
            gates_backward(s, g, dgx, dgh, h, dh, row, 3 * size);
        }
    }
}
