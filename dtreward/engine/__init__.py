"""From token ids to a frozen transformer's hidden states, at the speed of the hardware.

The room packs conversations without padding; a state does not depend on what else is in the pack, to the bit.

- `packing`: which conversations lie together in a pack, and where
- `attention`: attention over packs, by the first kernel that works here
- `experts`: mixtures of experts on a CPU
- `small_copy`: a small copy of a decoder, with each kind of its layers
- `law`: the check, on the small copy, that packs change nothing
- `backbone`: a transformer, the tokenizer that feeds it, and what names both
- `tokens`: conversations as token ids, and why some cannot be read
- `forward`: packs through a backbone, in memory
- `features`: shards of features on disk that a stopped run leaves whole
- `float8`: linear layers with eight-bit products
- `ray`: shards computed by the nodes of a Ray cluster
"""

from dtreward.engine.features import extract_features, read_features
from dtreward.engine.forward import hidden_states, last_hidden_states

__all__ = ["extract_features", "hidden_states", "last_hidden_states", "read_features"]
