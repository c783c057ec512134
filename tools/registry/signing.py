"""An evaluation that is believed: signed with a key that the platform's evaluation jobs get and trainings do not.

It lies where trainings may write as well, so its place says nothing; what it says is bound, by an HMAC, to the candidate, the
champion, the files of both and the job (docs/adr/0008).
"""

import hashlib
import hmac
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from tools.errors import PermanentError
from tools.registry.artifacts import ORIGIN
from tools.registry.evaluations import Evaluation
from tools.registry.quantizations import Quantization
from tools.values import Frozen

_PURPOSE = b"oppen evaluation 1\n"
_QUANTIZATION = b"oppen quantization 1\n"
"""One key, two purposes: neither passes for the other."""
_BLOCK = 1 << 20


class _Signed(Frozen):
    evaluation: str
    """As text: what is signed is exactly these bytes."""
    signature: str


def sign(evaluation: Evaluation, key: str) -> str:
    """As it lies in the registry. Raises ValueError for one that is bound to no job, or not to the files of both."""
    if not evaluation.job or not evaluation.artefact or not evaluation.champion_artefact:
        raise ValueError("only an evaluation that names its job, the candidate's files and the champion's can be signed")
    text = evaluation.model_dump_json()
    return _Signed(evaluation=text, signature=_hmac(text, key)).model_dump_json()


def verified(text: bytes | str, key: str, *, model: str, version: str, champion: str) -> Evaluation:
    """What was signed, of whatever files: see `bind`.

    Raises PermanentError, which says what it is instead: nobody's of ours, or another pair's."""
    beside = f"the evaluation of {model} {version} beside {champion}"
    try:
        signed = _Signed.model_validate_json(text)
    except ValidationError as error:
        raise PermanentError(f"{beside} cannot be read: {error.error_count()} errors") from error
    if not key or not hmac.compare_digest(signed.signature.encode(), _hmac(signed.evaluation, key).encode()):
        raise PermanentError(f"{beside} was left by no evaluation job of the platform: its signature is not ours")
    try:
        evaluation = Evaluation.model_validate_json(signed.evaluation)
    except ValidationError as error:
        raise PermanentError(f"{beside} is of another build and cannot be read: {error.error_count()} errors") from error
    if (evaluation.model, evaluation.version, evaluation.champion) != (model, version, champion):
        of = f"{evaluation.model} {evaluation.version} beside {evaluation.champion}"
        raise PermanentError(f"{beside} is really that of {of}")
    if not evaluation.champion_artefact:
        raise PermanentError(
            f"{beside} is of an earlier build, and does not say which files of the champion it was held beside"
        )
    return evaluation


class _SignedQuantization(Frozen):
    quantization: str
    signature: str


def sign_quantization(quantization: Quantization, key: str) -> str:
    """As it lies in the registry."""
    text = quantization.model_dump_json()
    return _SignedQuantization(quantization=text, signature=_hmac(text, key, _QUANTIZATION)).model_dump_json()


def verified_quantization(text: bytes | str, key: str, *, model: str, version: str) -> Quantization:
    """What was signed, of whatever files. Raises PermanentError, which says what it is instead."""
    what = f"the quantisation of {model} {version}"
    try:
        signed = _SignedQuantization.model_validate_json(text)
    except ValidationError as error:
        raise PermanentError(f"{what} cannot be read: {error.error_count()} errors") from error
    if not key or not hmac.compare_digest(signed.signature.encode(), _hmac(signed.quantization, key, _QUANTIZATION).encode()):
        raise PermanentError(f"{what} was left by no job of the platform: its signature is not ours")
    try:
        found = Quantization.model_validate_json(signed.quantization)
    except ValidationError as error:
        raise PermanentError(f"{what} is of another build and cannot be read: {error.error_count()} errors") from error
    if (found.model, found.version) != (model, version):
        raise PermanentError(f"{what} is really that of {found.model} {found.version}")
    return found


def bind_quantization(found: Quantization, *, original: str, produced: str | None) -> None:
    """The digests of the files as they are now; `produced`: of the INT8 version, None where there is none. Raises
    PermanentError when either's are others: what was measured is not what would be served."""
    for version, measured, now in (
        (found.version, found.original_artefact, original),
        (found.produced, found.artefact, produced),
    ):
        if now is not None and not hmac.compare_digest(measured, now):
            raise PermanentError(f"the files of {found.model} {version} have been changed since {found.job} measured them")


def bind(evaluation: Evaluation, *, artefact: str, champion_artefact: str) -> None:
    """The digests of both versions' files as they are now. Raises PermanentError when either's are others: what beat another
    champion has not beaten this one."""
    for version, measured, now in (
        (evaluation.version, evaluation.artefact, artefact),
        (evaluation.champion, evaluation.champion_artefact, champion_artefact),
    ):
        if not hmac.compare_digest(measured, now):
            name = f"{evaluation.model} {version}"
            raise PermanentError(f"the files of {name} have been changed since {evaluation.job} evaluated them")


def digest(folder: Path) -> str:
    """SHA-256 over the names and contents of a version's files, as the registry hands them to whoever serves them."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ORIGIN)
    return combined((str(path.relative_to(folder)), _of(path)) for path in files)


def combined(files: Iterable[tuple[str, str]]) -> str:
    """Of the digests of files, by their names in order."""
    whole = hashlib.sha256()
    for name, found in files:
        whole.update(f"{name}\0{found}\n".encode())
    return whole.hexdigest()


def _of(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
    return found.hexdigest()


def _hmac(text: str, key: str, purpose: bytes = _PURPOSE) -> str:
    return hmac.new(key.encode(), purpose + text.encode(), hashlib.sha256).hexdigest()
