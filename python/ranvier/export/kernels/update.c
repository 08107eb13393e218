/* SGD: g += decay p; v = momentum v + (1 - dampening) g, in the first step g; p -= rate v. Nesterov: p -= rate (g +
   momentum v). v may be NULL. */
static void sgd(float *p, const float *g, float *v, int n, float rate, float decay, float momentum, float dampening,
                int nesterov, int first)
{
    for (int i = 0; i < n; i++) {
        float d = g[i] + decay * p[i];
        if (v) {
            v[i] = first ? d : momentum * v[i] + (1.0f - dampening) * d;
            d = nesterov ? d + momentum * v[i] : v[i];
        }
        p[i] -= rate * d;
    }
}

/* Adam: m and v move towards g and g^2; p -= rate m / (sqrt(v / fix) + eps), where rate has the correction of m.
   shrink: of decoupled weight decay, p is multiplied by it. */
static void adam(float *p, const float *g, float *m, float *v, int n, float rate, float fix, float decay, float shrink,
                 float rest1, float beta2, float rest2, float eps)
{
    for (int i = 0; i < n; i++) {
        const float d = g[i] + decay * p[i];
        m[i] += rest1 * (d - m[i]);
        v[i] = beta2 * v[i] + rest2 * d * d;
        p[i] = shrink * p[i] - rate * m[i] / (sqrtf(v[i] / fix) + eps);
    }
}
