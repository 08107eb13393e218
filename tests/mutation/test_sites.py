"""The places that mutants are made of: what is found in C++ and Python, and what it is changed to."""

from __future__ import annotations

import ast

from mutation import cpp_sites, py_sites
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
PYTHON = """
def f(x: int = 3) -> bool:
    '''A text: 1 < 2.'''
    x += 1
    return x < 2 and g(x, True)
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


def test_places_in_python():
    found = py_sites.sites_of("f.py", PYTHON)
    assert changes(found) == {
        ("constant", "3", "4"),
        ("statement", "x += 1", "(dropped)"),
        ("constant", "1", "2"),
        ("operator", "x < 2 and g(x, True)", "x < 2 or g(x, True)"),
        ("bound", "x < 2", "x <= 2"),
        ("constant", "2", "3"),
        ("constant", "True", "False"),
    }
    for site in found:
        assert ast.unparse(py_sites.mutated(PYTHON, site)) != ast.unparse(ast.parse(PYTHON))


def test_the_draw_depends_on_the_seed_alone():
    def keys(seed):
        order = shuffled("part", py_sites.sites_of("f.py", PYTHON), seed)
        return [site.key for site in drawn(order, 4, lambda site, chosen: True)]

    assert keys(1) == keys(1) != keys(2)
    assert len(set(keys(1))) == 4
