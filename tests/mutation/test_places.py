"""The places in C++ that mutants are made of, and what they are changed to: all of a small file, by hand."""

from pathlib import Path

from mutation.places import places

CPP = """
constexpr int kSize = 3 + 4;  // a constant: left alone
template <int n>
static void f(const vec<float>& a, int64_t* p) {
  if (p[0] < n) return;  // 5 < 6
  *p += n * 2;
  std::vector<int> sizes(5);
  call(p);
}
"""


def test_places_in_cpp():
    found = {(place.line, place.before, place.after) for place in places(Path("f.cpp"), CPP)}
    assert found == {
        (5, "p[0] < n", "!(p[0] < n)"),
        (5, "0", "1"),
        (5, "<", "<="),
        (6, "+=", "-="),
        (6, "*", "/"),
        (6, "2", "3"),
        (7, "5", "6"),
        (8, "call(p);", ""),
    }
