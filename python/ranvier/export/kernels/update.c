/* SGD with g = gradient + decay p: v = momentum v + (1 - dampening) g, in the first step v = g; p -= rate v, or with
   nesterov p -= rate (g + momentum v). Without momentum v is NULL, and p -= rate g. */
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

/* Adam with d = g + decay p: m += rest1 (d - m), v = beta2 v + rest2 d^2, p = shrink p - rate m / (sqrt(v / fix) +
   eps). rest1 = 1 - beta1, rest2 = 1 - beta2; rate is divided by 1 - beta1^steps already, and fix is 1 - beta2^steps.
   shrink: the factor of decoupled weight decay. */
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
