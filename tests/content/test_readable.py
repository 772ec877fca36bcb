"""Code, formulas, tables and lists read as they are meant: lines stay lines, rows are lines, nothing runs together."""

from __future__ import annotations

import pytest

from kbjobs.content.html import extract_html

CODE = "def f():\n    return 1"


def lines(page: str) -> list[str]:
    return [block.text for block in extract_html(page.encode()).blocks]


@pytest.mark.parametrize(
    "page",
    [
        # Pygments: a table, its two kinds of line numbers within a listing
        "<table class=highlighttable><tr><td class=linenos><div class=linenodiv><pre><span>1</span>\n2</pre>"
        f"</div></td><td class=code><div><pre><span></span>{CODE}\n</pre></div></td></tr></table>",
        "<pre><span></span><span class=linenos>1</span>def f():\n<span class=linenos>2</span>    return 1\n</pre>",
        "<pre><span class=lineno>1 </span>def f():\n<span class=lineno>2 </span>    return 1\n</pre>",
        # Rouge, Hexo, Hugo
        f"<table><tr><td class='gutter gl'><pre class=lineno>1\n2\n</pre><td class=code><pre>{CODE}</pre></table>",
        "<table><tr><td class=gutter><pre><span class=line>1</span><br><span class=line>2</span><br></pre></td>"
        "<td><pre><span class=line>def f():</span><br><span class=line>    return 1</span><br></pre></table>",
        f"<table class=lntable><tr><td><pre><code><span class=lnt>1\n</span><span class=lnt>2\n</span></code></pre>"
        f"<td><pre>{CODE}</pre></table>",
        # GitHub, with the numbers in the page and added by a style
        "<table><tr><td class=blob-num>1</td><td class=blob-code>def f():</td></tr>"
        "<tr><td class=blob-num>2</td><td class=blob-code>    return 1</td></tr></table>",
        "<table><tr><td class=blob-num data-line-number=1></td><td class=blob-code><b>def</b> f():</td></tr>"
        "<tr><td class=blob-num data-line-number=2></td><td class=blob-code>    return 1</td></tr></table>",
        # lines that are parted by tags
        "<pre>def f():<br>    return 1</pre>",
        "<pre><code><div class=line>def f():</div><div class=line>    return 1</div></code></pre>",
        "<pre><ol><li>def f():</li><li>    return 1</li></ol></pre>",
    ],
)
def test_code_keeps_its_lines_without_their_numbers(page: str) -> None:
    assert lines(page) == [CODE]


def test_numbers_that_are_code_stay() -> None:
    assert lines("<pre>1\n2\n3</pre>") == ["1\n2\n3"]
    assert lines("<pre class=line-numbers>10 PRINT\n20 GOTO 10</pre>") == ["10 PRINT\n20 GOTO 10"]
    assert lines("<p>Use <code>a | b</code>, <kbd>Ctrl</kbd>+<kbd>C</kbd>.</p>") == ["Use a | b, Ctrl+C."]


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("<img class=math src=x alt='a = b'>", "a = b"),
        ("<span class=math><img src=x alt='a = b'></span>", "a = b"),
        ("<img class=\"latex\" src=x alt='a = b'>", "a = b"),
        ("<img src=x alt='a map'>", ""),
        ("<math><mi>a</mi><mo>=</mo><mi>b</mi></math>", "a=b"),
        ("<math alttext='a = b'><mi>a</mi><mo>=</mo><mi>b</mi></math>", "a = b"),
        ("<math><semantics><mi>π</mi><annotation encoding=application/x-tex>\\pi</annotation></math>", "\\pi"),
        ("<math><semantics><mi>π</mi><annotation encoding=other>x</annotation></semantics></math>", "π"),
        # KaTeX, MathJax 2
        ("<span class=katex-mathml><math><semantics><annotation encoding=application/x-tex>a</annotation></math></span>"
         "<span class=katex-html aria-hidden=true><span>a</span></span>", "a"),
        ("<script type=math/tex>a = b</script>", "a = b"),
        # MediaWiki: MathML that is not shown, beside an image that is hidden from screen readers
        ("<span style='display: none;'><math alttext='{\\displaystyle a=b}'><mi>a</mi></math></span>"
         "<img class=mwe-math-fallback-image-inline aria-hidden=true alt='{\\displaystyle a=b}'>", "a=b"),
    ],
)  # fmt: skip
def test_a_formula_is_what_its_author_typed(formula: str, expected: str) -> None:
    assert lines(f"<p>Here {formula} holds.</p>") == [" ".join(f"Here {expected} holds.".split())]


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("<table><caption>Prices of <b>fruit</b></caption><thead><tr><th>Fruit<th>Price</thead>"
         "<tbody><tr><th scope=row>Apple<td>1.20<tr><td>Pear<td></tbody><tfoot><tr><td>Sum<td>2</tfoot></table>",
         ["Prices of fruit", "Fruit | Price", "Apple | 1.20", "Pear", "Sum | 2"]),
        ("<table><tr><td>Left<td><table><tr><td>a<td>b<tr><td>c<td>d</table></table>", ["Left", "a | b", "c | d"]),
        ("<table><tr><td>x<td><ul><li>one<li>two</ul><td>a<br>b</table>", ["x | one two | a b"]),
        ("<table><tr><td><code>ls -l</code><td>lists <code>files</code></table>", ["ls -l | lists files"]),
        ("<table><tr><td><span><div>a</div><div>b</div></span><td>c</table>", ["a b | c"]),
        ("<table><tr><td>Cmd<td><pre>a\n  b</pre></table>", ["Cmd", "a\n  b"]),
        ("<table><tr><td hidden><h2>x</h2><td>a<td>b</table>", ["a | b"]),
        ("<dl><dt>Term</dt><dd>Meaning</dd><dd><p>Another</p><p>and more</p></dd><div><dt>T<dd>M</div></dl>",
         ["Term", "Meaning", "Another", "and more", "T", "M"]),
        ("<ol><li>One<ul><li>sub <b>a</b><li>sub b</ul>tail<li><p>Two</p><ol><li>x</ol></ol>",
         ["One", "sub a", "sub b", "tail", "Two", "x"]),
        ("<p>super&shy;cali\u00adfragilistic</p>", ["supercalifragilistic"]),
    ],
)  # fmt: skip
def test_tables_and_lists(page: str, expected: list[str]) -> None:
    assert lines(page) == expected
