"""Explores pairs by hand: type two responses, or step through a file, and see what decides and why.

It shows in a notebook, by `dtreward.explore`, or as a page of its own, by `dtreward explore MODEL`.

- `widget`: `explore`, its boxes and buttons
- `turns`: the boxes of a conversation
- `examples`: pairs to step through, and how they are read from files
- `reasons`: sentences that say what decides, and the smallest change that flips a preference
- `answer`: a comparison as HTML, Markdown and JSON
- `browser`: what only the browser can do: a key that compares, and copies to the clipboard
- `page`: serves it as a page of its own
"""
