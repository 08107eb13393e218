"""The places that mutants are made of: what is found in C++, and what it is changed to."""

from __future__ import annotations

from mutation import cpp_sites
from mutation.sites import drawn, shuffled

CPP = """
constexpr int kSize = 3 + 4;  // a constant: left alone
template <int n>
static void f(const vec<float>& a, int64_t* p) {
  if (p[0] < n && a) return;
  *p += n * 2;
  std::vector<int> sizes(5);
  call(p);
}
"""


def changes(sites):
    return {(site.kind, site.before, site.after) for site in sites}


def test_places_in_cpp():
    assert changes(cpp_sites.sites_of("f.cpp", CPP)) == {
        ("constant", "0", "1"),
        ("bound", "p[0] < n && a", "p[0] <= n && a"),
        ("operator", "p[0] < n && a", "p[0] < n || a"),
        ("condition", "p[0] < n && a", "!(p[0] < n && a)"),
        ("operator", "*p += n * 2", "*p -= n * 2"),
        ("operator", "n * 2", "n + 2"),
        ("constant", "2", "3"),
        ("constant", "5", "6"),
        ("statement", "call(p);", "(dropped)"),
    }


def test_a_switch_keeps_lines_and_the_other_code():
    site = next(s for s in cpp_sites.sites_of("f.cpp", CPP) if s.after == "n + 2")
    ((first, last, switch),) = site.where["edits"]
    assert (CPP[first:last], switch) == ("n * 2", "(RANVIER_MUTANT(@) ? (n + 2) : (n * 2))")


def test_the_draw_depends_on_the_seed_alone():
    def keys(seed):
        order = shuffled("part", cpp_sites.sites_of("f.cpp", CPP), seed)
        return [site.key for site in drawn(order, 4, lambda site, chosen: True)]

    assert keys(1) == keys(1) != keys(2)
    assert len(set(keys(1))) == 4
