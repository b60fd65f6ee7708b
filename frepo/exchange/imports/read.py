"""Files of distilled data to arrays: Flax checkpoints, .npz and .safetensors.

The files come from strangers. Nothing is unpickled, a file that lies about its sizes costs no memory, and whatever is
wrong with it becomes a FrepoError.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from frepo.errors import FrepoError
from frepo.exchange.imports.choose import file_of, kind_of, other_kind
from frepo.exchange.imports.stored import PAIRS, check


@dataclass(frozen=True)
class Foreign:
    """What a file holds, as it is there.

    Attributes:
        images: numbers of any kind and shape.
        labels: numbers of any kind and shape.
        path: the file that was read.
        names: what images and labels are called in it.
    """

    images: np.ndarray
    labels: np.ndarray
    path: Path
    names: tuple[str, str] = PAIRS[0]


def read_arrays(path: Path) -> Foreign:
    """Return images and labels of a file, or of the newest or best checkpoint in a directory.

    What kind of file it is follows from its content. Numbers and their types come back as they are.

    Raises:
        FrepoError: it cannot be read, does not have both arrays, or is of a kind that may run code.
    """
    try:
        if not path.exists():
            raise FrepoError(f"there is no file {path}")
        if path.is_dir():
            path = file_of(path)
        kind = kind_of(path)
        if kind is None and (other := other_kind(path)):
            raise FrepoError(f"{path} {other}")
        if kind is None:
            raise FrepoError(
                f"{path} is no Flax checkpoint and no .npz or .safetensors file; save images and labels with "
                "numpy.savez(FILE, images=IMAGES, labels=LABELS)"
            )
        with kind(path) as pair:
            check(path, pair)
            images, labels = (array.load() for array in pair)
        return Foreign(images, labels, path, (pair[0].name, pair[1].name))
    except FrepoError:
        raise
    except OSError as error:
        raise FrepoError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # the readers raise many kinds for bytes that are not theirs
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        reason = "".join(character if character.isprintable() else "?" for character in reason)
        raise FrepoError(f"{path} cannot be read ({reason}); copy it again, or save it again as .npz") from None
