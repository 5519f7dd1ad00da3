"""Pickles that hold nothing but numbers.

A pickle is a program: loading one can run any command. Here it is read by an interpreter that knows
plain data and numpy arrays and can do nothing else.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

from ..errors import PickleError
from ._pickle_machine import Machine, Refused
from .atomic import replacing


def load_pickle(path: str | os.PathLike[str]) -> Any:
    """Plain data from a pickle: numbers, text, lists, tuples, dictionaries, numpy arrays.

    Raises `PickleError` for anything else, without having run it.
    """
    path = Path(path)
    try:
        return Machine(path.read_bytes()).run()
    except FileNotFoundError:
        raise PickleError(f"{path}: no such file.\n  Remedy: check the path.") from None
    except OSError as error:
        raise PickleError(f"{path}: cannot be read ({error.strerror}).") from None
    except Refused as refused:
        raise PickleError(
            f"{path}: refused, because it asks to run {refused} when it is opened; a pickle of "
            f"poses or CTF values holds numpy arrays and nothing else.\n"
            f"  Nothing was run. If you do not know where the file is from, delete it.\n"
            f"  Remedy: write it again as numpy arrays, e.g. pickle.dump((rot, trans), file)"
        ) from None
    except (ValueError, LookupError, TypeError, ArithmeticError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise PickleError(
            f"{path}: not a pickle, or cut short ({reason[:200]}).\n"
            f"  Remedy: copy it again, or write it again with cryodrgn parse_pose_star and "
            f"cryodrgn parse_ctf_star"
        ) from None


def save_pickle(path: str | os.PathLike[str], value: Any) -> None:
    """Write plain data and numpy arrays as a pickle, atomically."""
    with replacing(Path(path)) as stream:
        pickle.dump(value, stream, protocol=4)
