"""Taking the DOM of a rendered page: as HTML, with its base address, without scripts.

The script runs in a world of its own (CDP's Page.createIsolatedWorld), where the page cannot have changed what its
functions do. Elements are copied into a document without custom elements, so that nothing of the page runs meanwhile.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from playwright.async_api import BrowserContext, Page

MAX_ELEMENTS = 300_000
"""Most nodes that are copied."""
MAX_DEPTH = 500
"""Deepest nesting that is copied; browsers themselves cut HTML at 512."""
MAX_LENGTH = 16 * 2**20
"""Most characters of the HTML."""
MAX_ROUTES = 2_000

_SCRIPT = """
(() => {
  const DROPPED = new Set(['script', 'noscript', 'template', 'base']);
  const inert = document.implementation.createHTMLDocument('');
  let left = %(nodes)d, room = %(length)d;
  const copyOne = (node) => {
    if (node.nodeType === 3) {
      if ((room -= node.data.length) < 0) return null;
      return inert.createTextNode(node.data);
    }
    if (node.nodeType !== 1 || DROPPED.has(node.localName)) return null;
    if (node.localName === 'link' && /\\b(preload|prefetch|modulepreload)\\b/i.test(node.rel)) return null;
    const copy = inert.importNode(node, false);
    for (const {name, value} of [...copy.attributes]) {
      room -= name.length + value.length;
      if (/^on/i.test(name) || /^\\s*javascript:/i.test(value) || name === 'srcdoc') copy.removeAttribute(name);
    }
    return copy;
  };
  const childrenOf = (node) => {
    if (node.shadowRoot) return node.shadowRoot.childNodes;
    if (node.localName === 'slot') {
      const assigned = node.assignedNodes();
      if (assigned.length) return assigned;
    }
    return node.childNodes;
  };
  const root = copyOne(document.documentElement) || inert.createElement('html');
  const stack = [[document.documentElement, root, 0]];
  while (stack.length) {
    const [from, to, depth] = stack.pop();
    for (const child of childrenOf(from)) {
      if (--left < 0 || room < 0) break;
      const copy = copyOne(child);
      if (copy === null) continue;
      to.appendChild(copy);
      if (copy.nodeType === 1 && depth < %(depth)d) stack.push([child, copy, depth + 1]);
    }
  }
  let head = root.querySelector('head');
  if (head === null) { head = inert.createElement('head'); root.prepend(head); }
  const base = inert.createElement('base');
  base.setAttribute('href', document.baseURI);
  head.prepend(base);
  const routes = new Set();
  if (%(routes)s) {
    for (const link of document.querySelectorAll('a[href*="#"]')) {
      const href = String(link.href);
      if (/#!?\\//.test(href) && href.length < 2000) routes.add(href);
      if (routes.size >= %(most)d) break;
    }
  }
  return JSON.stringify({html: '<!DOCTYPE html>' + root.outerHTML, routes: [...routes], isCut: left < 0 || room < 0});
})()
"""


@dataclass(frozen=True, slots=True)
class PageSnapshot:
    """A page's DOM as HTML, and its links to hash routes, if they are wanted. ``is_cut``: it is too large."""

    html: str
    routes: tuple[str, ...]
    is_cut: bool


async def take_snapshot(context: BrowserContext, page: Page, wants_routes: bool) -> PageSnapshot:
    """Take the DOM of a page.

    Raises:
        playwright.async_api.Error: the page or the browser is gone.
        ValueError: the page cannot be read.
    """
    session = await context.new_cdp_session(page)
    tree = await session.send("Page.getFrameTree")
    world = await session.send("Page.createIsolatedWorld", {"frameId": tree["frameTree"]["frame"]["id"]})
    script = _SCRIPT % {
        "nodes": MAX_ELEMENTS, "length": MAX_LENGTH, "depth": MAX_DEPTH, "most": MAX_ROUTES,
        "routes": json.dumps(wants_routes),
    }  # fmt: skip
    answer: dict[str, Any] = await session.send(
        "Runtime.evaluate",
        {"expression": script, "contextId": world["executionContextId"], "returnByValue": True, "timeout": 5000},
    )
    value = answer.get("result", {}).get("value")
    if not isinstance(value, str):
        raise ValueError("its content cannot be read")
    found = json.loads(value)
    return PageSnapshot(found["html"], tuple(found["routes"]), bool(found["isCut"]))
