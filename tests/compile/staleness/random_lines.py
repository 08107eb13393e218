"""The lines of a random training step: templates that `random_steps`
chooses from, with `;;` between them.

T U V: tensors; A: a number from 0 to 1; C: validate_args; NEW: the name that is bound.
"""

PURE = """
T + U ;; T - U * A ;; T * U ;; T / (U * U + 1) ;; rv.maximum(T, U) ;; T ** 2 ;; T.exp() * 0.2 ;; T.sin() + U
T.abs().sqrt() ;; F.gelu(T) ;; F.silu(T) * U ;; F.softplus(T) ;; F.elu(T) ;; F.hardswish(T)
F.leaky_relu(T, A) ;; F.relu6(T) ;; F.mish(T) ;; F.softmax(T, 0) ;; F.log_softmax(T, 1) * A
T.T.reshape(T.shape) ;; T.flip(0) ;; T.roll(1, 1) ;; rv.cat([T[:1], U[1:]]) ;; rv.stack([T, U]).amax(0)
rv.stack([T, U, V], 1).mean(1) ;; T.cumsum(0) * A ;; T.sort(1)[0] ;; T.topk(3, 1)[0].repeat(1, 2)
(T @ U.T) @ V * 0.1 ;; rv.einsum('ij,kj->ik', T, U) @ V * 0.1 ;; T.std(1, keepdim=True) + U ;; T.var(0) * U
T.norm(dim=1, keepdim=True) * U ;; T.logsumexp(0) + U ;; (T * A).prod(1, keepdim=True) + U ;; T - T.mean()
T.double().mean(0).float() + U ;; (T > U).float() * V ;; T.long().float() + U ;; T[y]
T.gather(1, y[:, None]) + U ;; T.index_add(0, y, U) ;; T.scatter(1, y[:, None], U)
T.scatter_add(1, y[:, None], U) ;; F.one_hot(y, 6).float() + T ;; F.pad(T, (1, 1))[:, 1:-1] * U
T.repeat_interleave(2, 0)[::2] ;; T.unbind(0)[0] + U ;; T[0].expand(T.shape) + U
T.view(-1, 2, 3).transpose(1, 2).reshape(-1, 6) ;; T.diagonal().sum() * U * A ;; T.masked_fill(U > A, A)
rv.where(T > U, T, V * A) ;; T.clamp(-A, 1) ;; T.detach() * U ;; T.clone()
T.narrow(1, 1, 3).repeat(1, 2) + U ;; (T.double() * U.double()).float() ;; T.median(1, keepdim=True)[0] + U
T.max(1, keepdim=True)[0] - U ;; T.tril() + U ;; F.cosine_similarity(T, U)[:, None] * V
F.normalize(T, dim=1) ;; T.lerp(U, A) ;; rv.addmm(T, U, V.T @ T) * 0.1
F.max_pool1d(T[:, None], 3, 1, 1)[:, 0] ;; F.avg_pool1d(T[:, None], 3, 1, 1)[:, 0] ;; T + y[:, None]
T * scale ;; F.interpolate(T[:, None], size=3)[:, 0].repeat(1, 2) ;; F.scaled_dot_product_attention(T, U, V)
T + more[0] ;; T * more[1] ;; T + box['one'] * A ;; T.chunk(2, 1)[1].repeat(1, 2)
T.split([2, 4], 1)[0].repeat(1, 3) * U ;; T.t().contiguous().t() ;; T.unflatten(1, (2, 3)).flatten(1) * U
T.squeeze(0) + U ;; T.movedim(0, 1).movedim(1, 0) ;; T + T.sum(0, keepdim=True) * A ;; A - T ;; T / (A + 0.5)
-T ;; T.sigmoid() ;; T.tanh() ;; T.reshape(2, -1, 3).transpose(0, 1).reshape(T.shape)
T.amin(1, keepdim=True) * U
"""
MODEL = """
lin(T) ;; F.relu(lin(T)) ;; bn(T) ;; bn(T).relu() ;; ln(T) ;; emb(y) ;; emb(y) * T ;; F.dropout(T, 0.3)
drop(T) ;; prelu(T) ;; gru(T[None])[0][0] ;; conv(T[:, None])[:, 0] ;; F.relu(bn1(conv(T[:, None])))[:, 0]
w * T ;; T + state ;; lin(lin(T)) ;; att(T[None], U[None], V[None])[0][0] ;; hooked(T)
F.tanh(hooked(T)) * U ;; F.linear(T, lin.weight.T) ;; T * w.sum() ;; rms(T) ;; F.layer_norm(T, (6,))
F.batch_norm(T, None, None, training=True) ;; T + rv.randn(6) * A ;; T * rv.rand(T.shape)
"""
SECOND = """
g, = grad((T.tanh() * w).sum(), [w], create_graph=True); NEW = U + g * 0.1
q = T.detach().clone().requires_grad_(); g, = grad((F.silu(q) * U).sum(), [q], create_graph=True); NEW = g * V
q = T.detach().requires_grad_(); g, = grad(lin(q.sin()).sum(), [q], create_graph=True); NEW = g + U
g = grad(lin(T).pow(2).mean(), list(lin.parameters()), create_graph=True); NEW = T + g[0].mean() + g[1]
g, = grad((w ** 3 * T).sum(), w, create_graph=True); NEW = grad((g * U).sum(), w, create_graph=True)[0] * V
g, = grad((T * w).sum(), [w], retain_graph=True); NEW = U + g
g, = grad(F.softmax(lin(T) * w, 1)[:, 0].sum(), [w], create_graph=True); NEW = U * g
g, = grad(ln(T * w).pow(2).sum(), [w], create_graph=True); NEW = U + g * 0.1
g, = grad(bn(T * w).pow(2).sum(), [w], create_graph=True); NEW = U - g * 0.1
g, = grad(F.mse_loss(T * w, U), [w], create_graph=True); NEW = V * (g.norm() - 1) ** 2
q = T.detach().requires_grad_(); g, = grad(conv(q[:, None]).exp().mean(), [q], create_graph=True); NEW = g * U
g, = grad(D.Normal(T * w, 1.0, **C).log_prob(U).sum(), [w], create_graph=True); NEW = g * V
g, = grad(F.cross_entropy(T * w, y), [w], create_graph=True); fast = w - 0.1 * g; NEW = T * fast
"""
DISTRIBUTIONS = """
D.Normal(T, F.softplus(U) + 0.1, **C).log_prob(V) * A ;; D.Normal(T, F.softplus(U) + 0.1, **C).rsample()
D.Normal(T, 1.0, **C).sample() + U ;; D.Normal(T, F.softplus(U) + 0.1, **C).entropy() * V
D.Laplace(T, 1.0, **C).log_prob(U) ;; D.Bernoulli(logits=T, **C).log_prob((U > 0).float())
D.Bernoulli(logits=T, **C).entropy() + U ;; D.Categorical(logits=T, **C).log_prob(y)[:, None] + U
D.Categorical(logits=T, **C).entropy()[:, None] * U ;; D.Cauchy(T, 1.0, **C).log_prob(U)
D.kl_divergence(D.Normal(T, 1.0, **C), D.Normal(U, 2.0, **C)) * A ;; D.Uniform(T - 2, T + 2, **C).rsample()
D.Exponential(F.softplus(T) + 0.1, **C).log_prob(U.abs())
D.Independent(D.Normal(T, 1.0, **C), 1).log_prob(U)[:, None] + V ;; D.Gumbel(T, 1.0, **C).rsample()
D.LogNormal(T, 0.5, **C).log_prob(U.abs() + 0.1) ;; D.HalfNormal(F.softplus(T) + 0.1, **C).log_prob(U.abs())
D.Bernoulli(probs=F.sigmoid(T), **C).log_prob((U > 0).float())
D.Geometric(logits=T, **C).log_prob(y[:, None].float())
D.OneHotCategorical(logits=T, **C).log_prob(F.one_hot(y, 6).float())[:, None] * U
D.Normal(T, U.exp() - 0.05, **C).log_prob(V) * 0.01
"""
CHANGES = """
c = T.clone(); c.mul_(U); NEW = c ;; c = T * 1; c[:, :2] += U[:, :2]; NEW = c
c = T.clone(); c[1:].relu_(); NEW = c ;; c = T.clone(); d = c.view(-1); d[::2] *= 0.5; NEW = c
c = T.detach().clone(); c[0] = U.detach()[0]; NEW = c ;; c = T.clone(); c.t()[1] = U[:, 0]; NEW = c
c = T.clone(); c.index_add_(0, y, U); NEW = c
c = rv.zeros(T.shape); c.copy_(T); c[:, 1].sub_(U[:, 2]); NEW = c
c = T.detach().clone(); c[0] = U.detach()[1]; c[:, 2] = V.detach().mean(1); NEW = c * U
c = T.detach() * 1; d = c[:, 1:4]; c.add_(A); d.zero_(); NEW = c + d.repeat(1, 2)
with rv.no_grad(): T[1:3].zero_() ;; with rv.no_grad(): T.copy_(U.detach())
with rv.no_grad(): T[:, 1].add_(U[:, 2]) ;; c = rv.zeros_like(T); c += T; c.clamp_(-1, 1); NEW = c
c = T.clone().view(-1, 2, 3); c[:, 0].zero_(); NEW = c.view(-1, 6)
c = [T.clone() for _ in range(k)]; c[-1].add_(U); NEW = sum(c)
c = rv.zeros(T.shape); c[1:3, 2] = T[0, :2]; c[0] = 0.5; c[:, 0] = T.mean(1); NEW = c * U
c = T.detach().clone(); c[1:] = c[:-1]; c[:, 2] = c[:, 2]; c.copy_(c.flip(0)); NEW = c * U
c = T.detach() * 2; NEW = U * c.tanh(); c.mul_(0.3)
with rv.no_grad(): state.mul_(0.9).add_(T.detach().mean(0) * 0.1) ;; with rv.no_grad(): w.mul_(0.99)
w.data.clamp_(-2, 2) ;; state[1:3] = T.detach()[0, 1:3] ;; state.copy_(w.detach() * A)
"""
CONTROL = """
with rv.no_grad(): NEW = lin(T) + U ;; with rv.no_grad(): NEW = T.relu() ;; with rv.enable_grad(): NEW = T * w
with rv.set_grad_enabled(flag): NEW = T * w + U ;; NEW = T * 2 if flag else U
NEW = sum(T * i for i in range(1, k + 1)) ;; NEW = {'a': T, 'b': [U, V]}['b'][0]
hooks.append(w.register_hook(lambda g: g.clamp(-1, 1))) ;; hooks.append(w.register_hook(lambda g: g * 0.5))
hooks.append(T.register_hook(lambda g: g * 2)) if T.requires_grad else None
hooks.append(T.register_hook(lambda g: g + g.mean())) if T.requires_grad else None
T.retain_grad() if T.requires_grad else None ;; loss = loss + F.cross_entropy(T, y)
loss = loss + F.cross_entropy(T, y, label_smoothing=0.1, reduction='sum') * 0.1
loss = loss + F.mse_loss(T, U); loss = loss + F.huber_loss(T, U.detach())
loss = loss + F.binary_cross_entropy_with_logits(T, F.sigmoid(U).detach())
loss = loss + F.kl_div(F.log_softmax(T, 1), F.softmax(U, 1), reduction='batchmean')
loss = loss + F.nll_loss(F.log_softmax(T, 1), y); loss = loss + F.triplet_margin_loss(T, U, V) * A
loss = loss + F.gaussian_nll_loss(T, U, V * V + 0.1) * A
loss = loss + F.smooth_l1_loss(T, U, beta=0.5); loss = loss + T.mean() * scale
T.sum().backward(retain_graph=True) if T.requires_grad else None ;; (T * w).mean().backward(retain_graph=True)
T, U = U, T ;; lin.weight.grad = None ;; nn.utils.clip_grad_value_(lin.parameters(), 0.5)
"""
DENIED = """
q = T.detach().requires_grad_(); (q.cos() * U).sum().backward(create_graph=True); NEW = q.grad + U
c = T.clone(); c[y] = U[0]; NEW = c * V ;; c = T.clone(); c[c > A] = 0.5; NEW = c + U
with rv.no_grad(): more[0].mul_(0.5) ;; kept['last'] = T.detach()
NEW = D.Gamma(F.softplus(T) + 0.1, 1.0, **C).log_prob(U.abs() + 0.1)
NEW = D.Beta(F.softplus(T) + 0.5, 2.0, **C).log_prob(F.sigmoid(U) * 0.9 + 0.05)
"""
ENDINGS = """
loss.backward(); first.step(); second.step() ;; loss.backward(); first.step() ;; loss.backward()
loss.backward(retain_graph=True); (loss * 0.5).backward(); second.step(); first.step()
(loss + lin(x).mean()).backward(); nn.utils.clip_grad_norm_(lin.parameters(), 0.5); first.step()
loss.backward(); first.step() if flag else second.step() ;; g, = grad(loss, [w]); world.descend(g)
(loss / 2).backward(); (first.step(), first.zero_grad()) if k > 1 else None; second.step()
g, = grad(loss, [w], create_graph=True); (g * g).sum().backward(); second.step()
"""
RARE = """
g = grad(loss, [w]); w.grad = g[0].detach() * 0.5; second.step()
loss.backward(); kept.update(n=kept.get('n', 0) + 1); first.step()
"""
RESULTS = """
loss.detach() ;; {'loss': loss.detach(), 'all': [t.detach() for t in made[-3:]]}
(loss.detach(), [made[-1].detach().clone(), {'k': k}], made[0].detach().sum())
[t.detach() for t in made[-2:]], flag ;; loss.detach(), w.grad.clone() if w.grad is not None else None
loss.detach(), w.detach()[1:3].clone(), made[-1].detach().double(), made[-1].detach() > 0
"""
