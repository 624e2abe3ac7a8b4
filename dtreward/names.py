"""Names in running text, also those that read from right to left."""

import unicodedata

ISOLATE = "\u2068{}\u2069"  # first strong isolate, and its end


def isolate(name: str) -> str:
    """Enclose a name that reads from right to left, so that it leaves the text around it in order.

    Example:
        >>> isolate("clarity"), ascii(isolate("בהירות"))[:7]
        ('clarity', "'\\\\u2068")
    """
    is_from_right = any(unicodedata.bidirectional(sign) in ("R", "AL") for sign in name)
    return ISOLATE.format(name) if is_from_right else name
