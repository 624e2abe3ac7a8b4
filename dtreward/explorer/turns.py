"""Boxes in which a conversation is written: a prompt, or several turns before the response."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dtreward.conversation import messages

try:
    import ipywidgets as widgets
except ImportError as error:
    raise ImportError('explore needs ipywidgets: pip install "dtreward[app]"') from error

WIDE = {"width": "auto"}
ROLES = ("user", "assistant")


class PromptBoxes(widgets.VBox):
    """Boxes for the turns of a prompt: the user's, or the user's and the assistant's in turn.

    The last is always the user's, and a box for a system turn can be shown above them.
    """

    def __init__(self, on_change: Callable[[Any], None]) -> None:
        """Show a single box.

        Args:
            on_change: called with the change when a text or the number of turns changes.
        """
        self.on_change = on_change
        self.system = self._box("System")
        self.system.layout.display = "none"
        self.boxes = [self._box("Prompt")]
        self.add = widgets.Button(description="Add a turn")
        self.remove = widgets.Button(description="Remove the last turn")
        self.instruct = widgets.Button(description="Add a system turn")
        self.add.on_click(self._add_turn)
        self.remove.on_click(self._remove_turn)
        self.instruct.on_click(self._toggle_system)
        super().__init__()
        self._lay_out()

    @property
    def buttons(self) -> list[widgets.Button]:
        """Those that change the number of turns."""
        return [self.add, self.remove, self.instruct]

    @property
    def has_system(self) -> bool:
        """Whether the box for a system turn is shown."""
        return self.system.layout.display != "none"

    @property
    def shown(self) -> list[widgets.Textarea]:
        """The boxes that are seen, from top to bottom."""
        return [self.system, *self.boxes] if self.has_system else list(self.boxes)

    @property
    def prompt(self) -> str | list[dict[str, str]]:
        """What is written: one text, or a list of chat messages where there are several turns."""
        if len(self.shown) == 1:
            return self.boxes[0].value
        turns = [{"role": "system", "content": self.system.value}] if self.has_system else []
        for place, box in enumerate(self.boxes):
            turns.append({"role": ROLES[place % 2], "content": box.value})
        return turns

    @prompt.setter
    def prompt(self, prompt: Any) -> None:
        """Write a prompt into the boxes, each of its turns into one of its own."""
        try:
            turns = messages(prompt)
        except (ValueError, TypeError):
            turns = [{"role": "user", "content": prompt}]  # `compare` says what is wrong with it
        if len(turns) == 1 and isinstance(prompt, str):
            turns = [{"role": "user", "content": prompt}]
        has_system = turns[0]["role"] == "system"
        self.system.value = turns[0]["content"] if has_system else ""
        self.system.layout.display = None if has_system else "none"
        texts = [turn["content"] for turn in turns[has_system:]]
        self._set_number(len(texts))
        for box, text in zip(self.boxes, texts, strict=True):
            box.value = text

    def _box(self, label: str) -> widgets.Textarea:
        box = widgets.Textarea(description=label, rows=3, layout=widgets.Layout(**WIDE))
        box.observe(self.on_change, "value")
        return box

    def _set_number(self, number: int) -> None:
        while len(self.boxes) > number:
            self.boxes.pop().close()
        while len(self.boxes) < number:
            self.boxes.append(self._box(""))
        self._lay_out()

    def _lay_out(self) -> None:
        """Name the boxes, and put the buttons below them."""
        for place, box in enumerate(self.boxes):
            name = "User" if place % 2 == 0 else "Assistant"
            box.description = f"{name} {place // 2 + 1}" if len(self.boxes) > 1 else "Prompt"
        self.remove.layout.display = None if len(self.boxes) > 1 else "none"
        self.instruct.description = f"{'Remove the' if self.has_system else 'Add a'} system turn"
        row = widgets.HBox(self.buttons).add_class("dtreward-row")
        self.children = [self.system, *self.boxes, row]

    def _add_turn(self, button: widgets.Button) -> None:
        """Add the assistant's answer to the last turn, and the user's next turn."""
        self._set_number(len(self.boxes) + 2)
        self.on_change(button)

    def _remove_turn(self, button: widgets.Button) -> None:
        self._set_number(max(1, len(self.boxes) - 2))
        self.on_change(button)

    def _toggle_system(self, button: widgets.Button) -> None:
        self.system.layout.display = "none" if self.has_system else None
        self._lay_out()
        self.on_change(button)
