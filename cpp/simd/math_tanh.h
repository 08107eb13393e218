// tanh. Included by math.h. For float there is a version with tables (RANVIER_HAS_LOOKUP, AVX-512) and one
// with FMA; the last but one is used at other levels, the last for double.
#pragma once

#include "simd/math_exp.h"

namespace ranvier::RANVIER_ISA {

#if RANVIER_HAS_LOOKUP
// Two registers hold a coefficient for each of 26 intervals: [0, 1/8), the quarters of the binades (from one
// power of two to the next) from 1/8 to 8, and what follows. tanh(node + d) = tanh(node) + d q(d), where the
// node is the lower end of the interval; near 0 it is d + d q(d). q has degree 4, relative error 2^-26.3.
// clang-format off
static constexpr float tanh_nodes[32] =
    {0.0f, 0x1.fd5992p-4f, 0x1.3d6bc8p-3f, 0x1.7b8ffap-3f, 0x1.b8fd04p-3f, 0x1.f597eap-3f,
     0x1.35f98ap-2f, 0x1.6ef53ep-2f, 0x1.a5729ep-2f, 0x1.d9353ep-2f, 0x1.1bf47ep-1f, 0x1.45323ep-1f,
     0x1.686650p-1f, 0x1.85efacp-1f, 0x1.b2523cp-1f, 0x1.cf6f98p-1f, 0x1.e1fbfap-1f, 0x1.ed9506p-1f,
     0x1.f92582p-1f, 0x1.fd77d2p-1f, 0x1.ff112cp-1f, 0x1.ffa818p-1f, 0x1.fff41ap-1f, 0x1.fffe64p-1f,
     0x1.ffffc8p-1f, 0x1.fffff8p-1f, 0.0f, 0.0f, 0.0f, 0.0f,
     0.0f, 0.0f};
static constexpr float tanh_slopes[5][32] = {
    {-0x1.49f374p-30f, 0x1.f81526p-1f, 0x1.f3b360p-1f, 0x1.ee69e4p-1f, 0x1.e842cap-1f, 0x1.e149a0p-1f,
     0x1.d11574p-1f, 0x1.be3fbap-1f, 0x1.a945bap-1f, 0x1.92a946p-1f, 0x1.6284c2p-1f, 0x1.3173b2p-1f,
     0x1.02500ap-1f, 0x1.ae0ddep-2f, 0x1.1f2524p-2f, 0x1.721660p-3f, 0x1.d22ca6p-4f, 0x1.216232p-4f,
     0x1.b3ae14p-6f, 0x1.4348b2p-7f, 0x1.dd3542p-9f, 0x1.5f5da6p-10f, 0x1.7ca30ep-13f, 0x1.9c241ap-16f,
     0x1.be38f4p-19f, 0x1.e2e182p-22f, 0.0f, 0.0f, 0.0f, 0.0f,
     0.0f, 0.0f},
    {0x1.df1050p-22f, -0x1.f57932p-4f, -0x1.35cbbcp-3f, -0x1.6e8666p-3f, -0x1.a48aacp-3f, -0x1.d78128p-3f,
     -0x1.199206p-2f, -0x1.3fd536p-2f, -0x1.5e0ef6p-2f, -0x1.74266cp-2f, -0x1.893b12p-2f, -0x1.8403f8p-2f,
     -0x1.6ba82ap-2f, -0x1.478d4ep-2f, -0x1.e73132p-3f, -0x1.4efefep-3f, -0x1.b6d976p-4f, -0x1.16ea1ap-4f,
     -0x1.ada6eep-6f, -0x1.4181ecp-7f, -0x1.dc0edap-9f, -0x1.5cf3f8p-10f, -0x1.7a396ep-13f, -0x1.998ee8p-16f,
     -0x1.bb6e32p-19f, -0x1.dd9ea8p-22f, 0.0f, 0.0f, 0.0f, 0.0f,
     0.0f, 0.0f},
    {-0x1.555c36p-2f, -0x1.4077aap-2f, -0x1.3520f6p-2f, -0x1.27a5c4p-2f, -0x1.183bd6p-2f, -0x1.072564p-2f,
     -0x1.c1b32ep-3f, -0x1.6dd27ep-3f, -0x1.16ed8cp-3f, -0x1.8258f8p-4f, -0x1.24d8a2p-6f, 0x1.56a6aap-5f,
     0x1.4f4acep-4f, 0x1.aa456cp-4f, 0x1.bcd6d0p-4f, 0x1.682ab8p-4f, 0x1.01d06ep-4f, 0x1.57dc40p-5f,
     0x1.14f6f8p-6f, 0x1.a5300cp-8f, 0x1.39a63ap-9f, 0x1.bccbf6p-11f, 0x1.e283b0p-14f, 0x1.05461ep-16f,
     0x1.1ae300p-19f, 0x1.2a6ba2p-22f, 0.0f, 0.0f, 0.0f, 0.0f,
     0.0f, 0.0f},
    {0x1.0df862p-11f, 0x1.47286ep-4f, 0x1.8ee15cp-4f, 0x1.d04fbcp-4f, 0x1.054a94p-3f, 0x1.1fdd0ep-3f,
     0x1.45aa60p-3f, 0x1.5a04dap-3f, 0x1.5da314p-3f, 0x1.556ea6p-3f, 0x1.1bef32p-3f, 0x1.97880ap-4f,
     0x1.eb636cp-5f, 0x1.87fb5ap-6f, -0x1.ec7a00p-7f, -0x1.a91cf2p-6f, -0x1.848d40p-6f, -0x1.1cd2c6p-6f,
     -0x1.efd62ap-8f, -0x1.82f866p-9f, -0x1.22dbacp-10f, -0x1.6c7134p-12f, -0x1.8bc212p-15f, -0x1.aca75cp-18f,
     -0x1.d01f0ap-21f, -0x1.cfd3eep-24f, 0.0f, 0.0f, 0.0f, 0.0f,
     0.0f, 0.0f},
    {0x1.09e72cp-3f, 0x1.cb0188p-4f, 0x1.a2df14p-4f, 0x1.752c88p-4f, 0x1.431854p-4f, 0x1.e681a6p-5f,
     0x1.0856d8p-5f, 0x1.96b2f6p-8f, -0x1.155decp-6f, -0x1.6129dap-5f, -0x1.f756c0p-5f, -0x1.00d728p-4f,
     -0x1.b39f58p-5f, -0x1.08e5e6p-5f, -0x1.3d9688p-7f, 0x1.5ba106p-10f, 0x1.2c9d94p-8f, 0x1.05b4a0p-8f,
     0x1.fa0b06p-10f, 0x1.97b78cp-11f, 0x1.35d6dap-12f, 0x1.25228ep-14f, 0x1.3ea3d6p-17f, 0x1.592bfep-20f,
     0x1.75bd1cp-23f, 0x1.53d120p-26f, 0.0f, 0.0f, 0.0f, 0.0f,
     0.0f, 0.0f}};
// clang-format on

RANVIER_INLINE vec<float> tanh(vec<float> x) {
  constexpr int32_t quarter = 21, eighth = 0x3e000000;  // bits of 1/8; a quarter of a binade is 2^21 of them
  const vec<float> size = abs(x);
  const ivec<float> small = size < 0.125f;
  const ivec<float> interval = select(small, ivec<float>{}, ((bits(size) - eighth) >> quarter) + 1);
  const vec<float> d = size - from_bits(~small & (bits(size) & -(1 << quarter)));
  vec<float> q = lookup(tanh_slopes[4], interval);
  for (int k = 3; k >= 0; --k) q = fma(q, d, lookup(tanh_slopes[k], interval));
  const vec<float> y = fma(d, q, select(small, d, lookup(tanh_nodes, interval)));
  return copysign(select(size > 9.02f, broadcast(1.0f), y), x);  // from 9.02 on tanh rounds to 1
}
#elif RANVIER_HAS_FMA
// tanh(|x|) = e / (e + 2), where e = expm1(2|x|) = 2^n (2 r + r^2 g) + 2^n - 1. Where e is small, the
// rounding of e + 2 would be the largest error: there y = h - h y with h = e / 2.
RANVIER_INLINE vec<float> tanh(vec<float> x) {
  constexpr float round = 0x1.8p23f + 127;  // added: rounds to an integer, kept in the last bits
  const vec<float> size = at_most(abs(x), ExpRange<float>::tanh);
  const vec<float> power = fma(size, broadcast(2.88539008177792681472f), broadcast(round));
  const vec<float> r = fma(power - round, broadcast(-0.346573590279972654709f), size);
  const vec<float> scale = from_bits(bits(power) << 23);
  const vec<float> main = scale * r;
  // g(r) = (exp(2 r) - 1 - 2 r) / r^2; error relative to exp(2 r) 2^-28.3.
  const vec<float> g =
      polynomial(r, 0x1.fffffcp+0f, 0x1.555492p+0f, 0x1.5558f2p-1f, 0x1.1239d4p-2f, 0x1.6a244cp-4f);
  const vec<float> e = fma(main * r, g, fma(main, broadcast(2.0f), scale - 1.0f));
  const vec<float> y = e / (e + 2.0f);
  const vec<float> h = 0.5f * e;
  return copysign(select(e < 0.75f, fma(-h, y, h), y), x);
}
#endif

#if !RANVIER_HAS_LOOKUP && !RANVIER_HAS_FMA
// tanh(|x|) = h / (h + 1), where h = expm1(2|x|) / 2. Where h is small, the rounding of h + 1 and h would be
// the largest error: there y = h - h y.
RANVIER_INLINE vec<float> tanh(vec<float> x) {
  typedef vec<float> V;
  const V size = at_most(abs(x), ExpRange<float>::tanh);
  const auto [main, tail] = half_expm1(size + size);
  const V h = main + tail;
  const V y = h / (h + 1.0f);
  return copysign(select(h < 0.5f, main + fma(-h, y, tail), y), x);
}
#endif

// tanh(|x|) = h / (h + 1), where h = expm1(2|x|) / 2; for double the quotient is corrected by what all its
// roundings have lost, over h + 1, and 1 / (h + 1) = 1 - y.
RANVIER_INLINE vec<double> tanh(vec<double> x) {
  typedef vec<double> V;
  const V size = at_most(abs(x), ExpRange<double>::tanh);
  const auto [main, tail] = half_expm1(size + size);
  const V h = main + tail;
  const V h_lo = (main - h) + tail;
  const auto d = exact_sum(h, broadcast(1.0));
  const V y = h / d.hi;
  const V lost = RANVIER_HAS_FMA ? fma(-y, d.hi, h) : V{};  // exact
  const V corrected = fma(lost + fma(-y, d.lo + h_lo, h_lo), 1.0 - y, y);
  return copysign(select(h < 0x1p30, corrected, y), x);  // for larger h the digits of 1 - y are lost, too
}

}  // namespace ranvier::RANVIER_ISA
