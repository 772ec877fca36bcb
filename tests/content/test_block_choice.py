"""What is kept of a page of the open web, and that documentation loses nothing."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest

from kbjobs.content.block_choice import THRESHOLD, judge
from kbjobs.content.block_features import describe_blocks
from kbjobs.content.block_trees import Forest, load_forest
from kbjobs.content.html import MAX_BLOCKS, extract_html, read_html
from kbjobs.content.left_out import FURNITURE, list_left_out
from kbjobs.content.page_kind import is_documentation, is_plain

SENTENCES = [
    "The water of the lake is boiled for ten minutes, cooled, and kept in closed cans, which were cleaned before.",
    "Nobody who lives here, said the engineer, has ever seen the level of the river fall so fast in a single spring.",
    "Where the pumps are driven by wind, a second tank is needed, since calm days follow each other in late summer.",
    "The council will decide in March, after a hearing, whether the old mill is repaired or sold to its neighbours.",
    "Three of the wells were closed last year; two of them are open again, and the third is still being cleaned.",
    "Filters of sand and charcoal hold back what can be seen, but not what makes people ill, as the tests have shown.",
]
TEASERS = [
    "Ten lamps for the dark season",
    "A stove of stone",
    "What the winter costs",
    "Rain in the cellar",
    "Go west",
]


MENU = "<nav>" + "".join(f'<a class="nav-link" href=/{name}>{name}</a>' for name in "abcdefghijkl") + "</nav>"


def article(within: str = "", before: str = "", head: str = "") -> bytes:
    paragraphs = "".join(f"<p>{sentence}</p>" for sentence in SENTENCES)
    return (
        '<html lang=en><head><title>Clean water - The Daily Lake</title><meta property="og:type" content="article">'
        f'{head}</head><body>{MENU}{before}<div class="article-content"><h1>Clean water</h1>{paragraphs}{within}</div>'
        "</body></html>"
    ).encode()


def kept(page: bytes) -> str:
    return "\n".join(block.text for block in extract_html(page).blocks)


@pytest.mark.parametrize(
    ("within", "gone"),
    [
        (
            '<div class="related-posts"><h3>Most popular</h3>'
            + "".join(f'<div class="teaser card"><a href=/{n}>{text}</a></div>' for n, text in enumerate(TEASERS))
            + "</div>",
            TEASERS,
        ),
        (
            '<div id="comments" class="comments-area"><h3>2 comments</h3><div class="comment"><p>Bo Ek says:</p>'
            "<p>I have never drunk this, and I never will.</p></div><div class=comment><p>Reply</p></div></div>",
            ["I have never drunk this", "2 comments"],
        ),
        ('<div class="share-buttons social"><a href=#>Share on Facebook</a> <a href=#>Tweet</a></div>', ["Facebook"]),
        (
            '<div class="newsletter-signup widget"><h4>Newsletter</h4><p>Sign up for our newsletter.</p></div>',
            ["Sign up for our newsletter"],
        ),
    ],
)
def test_neighbours_of_an_article_are_left_out(within: str, gone: list[str]) -> None:
    text = kept(article(within))
    assert all(sentence in text for sentence in SENTENCES)
    assert not [one for one in gone if one in text]


@pytest.mark.parametrize(
    ("body_tag", "post"),
    [
        ('<body id="phpbb">', '<div class="post"><div class="postbody"><p>by user</p><div class="content">{}</div>'),
        ("<body>", '<div itemprop="comment" class="topic-body crawler-post"><div itemprop="text"><p>{}</p></div>'),
        ('<body class="question-page">', '<div class="answer js-answer"><div class="js-post-body"><p>{}</p></div>'),
    ],
    ids=["phpBB", "Discourse", "Stack Exchange"],
)
def test_all_posts_of_a_thread_are_kept(body_tag: str, post: str) -> None:
    thing = '<div itemscope itemtype="http://schema.org/DiscussionForumPosting">' if body_tag == "<body>" else "<div>"
    posts = "".join(post.format(sentence) + "</div></div>" for sentence in SENTENCES)
    more = "".join(f"<tr><td><a href=/{text}>{text}</a></td></tr>" for text in TEASERS)
    related = f'<div class="more-topics"><h3>Related topics</h3><table class="topic-list">{more}</table></div>'
    head = '<title>Leaking barrel</title><meta property="og:site_name" content="Woodcraft">'
    text = kept(f"<html><head>{head}</head>{body_tag}{MENU}{thing}{posts}</div>{related}</body></html>".encode())
    assert all(sentence in text for sentence in SENTENCES)
    assert TEASERS[0] not in text


def test_what_belongs_to_the_text_stays() -> None:
    within = (
        f"<h2>How to</h2><ol><li>{SENTENCES[0]}</li><li>{SENTENCES[1]}</li></ol>"
        f"<table><tr><th>Well</th><th>Litres a day</th></tr><tr><td>North</td><td>1,200</td></tr></table>"
        f"<blockquote>{SENTENCES[2]}</blockquote>"
    )
    page = article().replace(b"</h1>", f"</h1>{within}".encode())
    text = kept(page)
    assert "How to" in text
    assert "Well | Litres a day" in text
    assert text.count(SENTENCES[2]) == 2


def test_documentation_loses_nothing() -> None:
    body = f'<div class="body" role="main"><h1>ls</h1><p>{SENTENCES[0]}</p><p>See also</p><p>Share</p></div>'
    page = f'<html><head><meta name="generator" content="Docutils 0.21"></head><body>{body}</body></html>'.encode()
    assert is_documentation(page)
    assert read_html(page).outline is None
    assert "Share" in kept(page)


def test_an_address_loads_nothing() -> None:
    links = '<a class="x" href="https://example.org/a">A</a>' * 20
    head = '<link rel="canonical" href="https://example.org/x"><link rel="next" href="https://example.org/y">'
    assert is_plain(f"<html><head>{head}</head><body>{links}</body></html>".encode())
    head += '<link rel="stylesheet" href="https://cdn.example.org/x.css">'
    assert not is_plain(f"<html><head>{head}</head><body>{links}</body></html>".encode())


@pytest.mark.parametrize("generator", ["publican v4.3.2", "DocBook XSL Stylesheets V1.79", "Sphinx", "MediaWiki 1.39"])
def test_generators_of_documentation(generator: str) -> None:
    assert is_documentation(f'<meta xmlns:d="x" name="generator" content="{generator}" />'.encode())
    assert not is_documentation(b'<meta name="generator" content="WordPress 6.4" />')


def test_a_page_of_few_words_is_not_emptied() -> None:
    page = f'<title>x</title><body>{MENU}<div class="comments sidebar"><a href=/>Home</a><p>Share</p></div>'
    assert kept(page.encode())


def test_a_page_written_by_hand_is_kept_as_it_is() -> None:
    assert kept(b"<title>x</title><h1>Glossary</h1><dl><dt>T<dd>M</dl><p>Share</p>") == "Glossary\nT\nM\nShare"


def test_what_is_left_out_is_told_with_its_reason() -> None:
    page = article('<div class="newsletter widget"><p>Sign up for our newsletter.</p></div>', "<nav>All pages</nav>")
    page = page.replace(b"</head>", b"<script>no words</script></head>")
    told = {one.text: one.reason for one in list_left_out(page)}
    assert told.pop("All pages") == FURNITURE
    assert [text for text in told if len(text) > 1] == ["Sign up for our newsletter."]
    assert told["Sign up for our newsletter."].startswith("main text with a probability of 0.")


def test_probabilities_are_some() -> None:
    reading = read_html(article())
    assert reading.outline is not None
    probable = judge(reading.outline, reading.facts)
    assert probable.shape == (len(SENTENCES) + 1,)
    assert ((probable > 0) & (probable < 1)).all()
    assert np.count_nonzero(probable > THRESHOLD) >= len(SENTENCES)


def test_many_blocks_at_once_are_judged_as_one_by_one() -> None:
    reading = read_html(article("".join(f"<p>{sentence}</p>" for sentence in SENTENCES) * 60))
    assert reading.outline is not None
    rows = describe_blocks(reading.outline, reading.facts)
    forest = load_forest()
    assert np.allclose(forest.predict(rows), np.concatenate([forest.predict(row[None, :]) for row in rows]))


def test_a_forest_answers_as_its_trees_do() -> None:
    # One tree: is number 0 at most 1? Then -1; else: is number 1 at most 5? Then 0.5, else 2.
    forest = Forest(
        features=np.array([[0], [1]], np.int16),
        thresholds=np.array([[1], [5]], np.float32),
        masks=np.array([[0xFFFF & ~0b1], [0xFFFF & ~0b10]], np.uint16),
        values=np.array([[-1, 0.5, 2] + [0] * 13], np.float32),
        baseline=0.25,
    )
    said = forest.predict(np.array([[1, 9], [2, 5], [2, 6]], np.float32))
    assert np.allclose(said, 1 / (1 + np.exp(-(np.array([-1, 0.5, 2]) + 0.25))))


def test_a_page_cut_anywhere_gets_an_answer() -> None:
    page = article('<div class="comments"><p>Reply</p></div>', "<script>var secret = 1;</script>")
    for length in range(0, len(page), 7):
        assert "secret" not in kept(page[:length])


def test_damaged_bytes_get_an_answer_in_time() -> None:
    draw = random.Random(7)
    page = article("".join(f"<div class=card><a href=/{n}>{n} lamps</a></div>" for n in range(300)))
    for _ in range(20):
        damaged = bytearray(page)
        for at in draw.sample(range(len(page)), len(page) // 100):
            damaged[at] = draw.randrange(256)
        begun = time.process_time()
        extract_html(bytes(damaged).decode("utf-8", "replace").encode())
        assert time.process_time() - begun < 2


def test_comments_are_kept_where_that_is_asked_for() -> None:
    comment = "I have never drunk this, and I never will."
    page = article(f'<div id="comments" class="comments-area"><p>{comment}</p><p>Reply</p></div>')
    assert comment not in kept(page)
    text = "\n".join(block.text for block in extract_html(page, keeps_comments=True).blocks)
    assert comment in text
    assert "Reply" not in text
    assert comment not in [one.text for one in list_left_out(page, keeps_comments=True)]


def test_a_page_of_too_many_blocks_is_kept_as_it_is() -> None:
    rows = "".join(f"<p class=row>{number} litres</p>" for number in range(MAX_BLOCKS))
    page = article(f"{rows}<div class=comments><p>Sign up for our newsletter.</p></div>")
    assert "Sign up for our newsletter." in kept(page)


def test_pages_without_a_mark_of_the_web_are_kept_as_they_are() -> None:
    page = article('<div class="newsletter widget"><p>Sign up for our newsletter.</p></div>')
    assert "Sign up" not in kept(page)
    assert "Sign up" in kept(page.replace(b'property="og:type"', b"name=type"))
    elsewhere = page.replace(
        b'<meta property="og:type" content="article">', b"<script src=//cdn.example/a.js></script>"
    )
    assert read_html(elsewhere).outline is not None
