"""Follows the indices of a loader's passes, and leaves out those that are not chosen.

`torch.utils.data.DataLoader` takes its batches of indices from a property, `_index_sampler`.
`patch` makes that give `Indices`, whose iterators are `IndexPass`. As long as nobody chooses, they
give what the plain batch sampler gives, when it gives it, and draw no random numbers. What is not
chosen is never loaded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import chain, islice
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

import numpy as np
import numpy.typing as npt
from torch.utils.data import IterableDataset

from smart_sifting.errors import UnsupportedDataFormatException
from smart_sifting.memory.batch_form import BatchForm
from smart_sifting.memory.samplers import (
    declared_size,
    has_state,
    known_length,
    layers,
    skipped_batches,
)

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

Array = npt.NDArray[np.int64]
# Of the indices in the sampler's order, those to be given, in the order in which to give them.
Choose = Callable[[Array], Array]
# Asked as a pass over a loader begins: how to choose all of it, or None to give it as it is.
Listener = Callable[["DataLoader[Any]"], Choose | None]

NO_LENGTH = "its sampler has no length"
ENDLESS = "its sampler goes on beyond its length"
# Where the state of a chosen pass stands within the state of the plain iterator.
_STATE = "smart_sifting"


def patch(listener: Listener) -> Callable[[], None]:
    """Follow the passes of every DataLoader of this process.

    Args:
        listener: asked as the first batch of each pass is due, so before workers are sent anything.
            StatefulDataLoader may begin a pass only to throw it away: asking must not change what
            the next answer is.

    Returns:
        A function that gives torch its own property back.
    """
    from torch.utils.data import DataLoader, get_worker_info

    plain = DataLoader._index_sampler

    def followed(self: DataLoader[Any]) -> Any:
        sampler = plain.fget(self)  # type: ignore[attr-defined]
        if get_worker_info() is not None or _unfollowable(self) is not None:
            return sampler
        return Indices(sampler, self, listener)

    def unpatch() -> None:
        DataLoader._index_sampler = plain  # type: ignore[method-assign]

    DataLoader._index_sampler = property(followed)  # type: ignore[method-assign, assignment]
    return unpatch


def pass_of(source: Iterator[Any]) -> IndexPass | None:
    """The pass behind a loader's own iterator; None if there is none that can be followed.

    To be asked where the iterator was made, before a batch is taken from it: what a restored
    iterator has skipped by then comes back to nobody, and is forgotten here.
    """
    found = getattr(source, "_sampler_iter", None)
    if not isinstance(found, IndexPass):
        # StatefulDataLoader skips what it gave before with an iterator of its own around ours.
        indices = getattr(source, "_index_sampler", None)
        found = indices.latest if isinstance(indices, Indices) else None
    if found is not None:
        in_flight = getattr(source, "_send_idx", 0) - getattr(source, "_rcvd_idx", 0)
        found.keep_latest(in_flight)
    return found


def indexable(loader: DataLoader[Any]) -> str | None:
    """Why passes over a loader cannot be chosen from, in a few words; None if they can."""
    reason = _unfollowable(loader) or _refused.get(loader)
    if reason is None and known_length(loader.batch_sampler) is None:
        return NO_LENGTH
    return reason


class Indices:
    """Stands for a loader's batch sampler. Attributes that are not its own are the sampler's.

    Args:
        plain: the batch sampler.
        loader: whose it is; held weakly. Its workers bound what a pass remembers.
        listener: as for `patch`.
    """

    def __init__(
        self,
        plain: Any,
        loader: DataLoader[Any] | None = None,
        listener: Listener | None = None,
    ) -> None:
        self.plain = plain
        self.latest: IndexPass | None = None
        self._owner = _Owner(loader, listener)

    def __iter__(self) -> IndexPass:
        # Now, not when the first batch is due: some samplers draw random numbers here.
        batches = iter(self.plain)
        kind = _ResumablePass if has_state(batches) else IndexPass
        self.latest = kind(self._owner, self.plain, batches)
        return self.latest

    def __len__(self) -> int:
        return len(self.plain)

    def __getattr__(self, name: str) -> Any:
        if name == "plain" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.plain, name)


class IndexPass:
    """One pass over a batch sampler: an iterator of batches of indices.

    Args:
        owner: the loader that asks.
        sampler: the plain batch sampler.
        batches: its iterator.

    Attributes:
        dispatched: batches given to the loader so far.
        restored: samples that its sampler gave an earlier job before anything was chosen.
    """

    def __init__(self, owner: _Owner, sampler: Any, batches: Iterator[Any]) -> None:
        self.dispatched = self.restored = 0
        self._owner = owner
        self._sampler = sampler
        self._plain = self._batches = batches
        self._form = BatchForm()
        self._begun = self._asked = self._chosen = False
        self._left_out = 0  # batches at the beginning that an earlier job has trained on
        self._samples = np.empty(0, np.int64)  # of those that are given once it is chosen
        # The one that comes back, and those in flight behind it. The bound is for loaders that
        # nobody follows; it also drops what a restored loader skips.
        bound = None if owner.in_flight is None else owner.in_flight + 1
        self._unreturned: deque[Any] = deque(maxlen=bound)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if not self._begun:
            self.begin()
        batch = next(self._batches)
        if not self._asked:
            self._see(batch)
        self.dispatched += 1
        self._unreturned.append(batch)
        return self._form.write(batch) if self._chosen else batch

    @property
    def batch_size(self) -> int | None:
        """Samples of a plain batch, as seen or else as declared; None if that varies, or before
        it is known."""
        if self._form.refusal is not None:
            return None
        return self._form.size or declared_size(self._sampler)

    @property
    def chosen(self) -> bool:
        """Whether what it gives from now on has been chosen."""
        return self._chosen

    @property
    def passed_over(self) -> Array:
        """The samples at the beginning of a pass that is chosen as a whole which come back to
        nobody, for an earlier job has had them. To be asked before a batch is taken."""
        batches = self._left_out + self.dispatched - len(self._unreturned)
        return self._samples[: batches * self._form.size]

    @property
    def on_the_way(self) -> list[Any]:
        """The indices of the batches that were dispatched and have not come back yet."""
        return list(self._unreturned)

    def begin(self) -> None:
        """Ask now, and not when the first batch is due, how to choose."""
        if self._begun:
            return
        choose = self._owner.ask()
        if choose is None:
            self._begun = True
            self._give(self._batches)
            return
        # Nobody is there to be told; whoever asks `indexable` is.
        with suppress(UnsupportedDataFormatException):
            self.choose(choose)

    def returned(self) -> Any:
        """The indices of the oldest batch on its way, which is now no more.

        To be asked once for each batch that the loader gives, before the next is taken from it,
        and for each whose loading failed.

        Raises:
            IndexError: all that were dispatched have come back.
        """
        return self._unreturned.popleft()

    def keep_latest(self, batches: int) -> None:
        """Forget all batches on their way but the latest ones."""
        while len(self._unreturned) > batches:
            self._unreturned.popleft()

    def choose(self, choose: Choose) -> None:
        """Give, of what the sampler still has, only what is chosen, in batches of `batch_size`.

        The sampler is asked at once for all batches that are left; `choose` is not asked if there
        are none. To give everything, `choose` returns what it got.

        Raises:
            UnsupportedDataFormatException: what is left cannot be chosen from, as `indexable` tells
                from now on. It is given as it is, also where `choose` itself raises.
            RuntimeError: this pass has been chosen from before.
        """
        if self._asked:
            raise RuntimeError("a pass is chosen from only once")
        self._asked = True
        if self._begun:
            self._left_out = 0
        else:
            self._begun = True
            self._unwrap()
        rest, sizes = self._drain(self._form, already=self.dispatched)
        try:
            if self._form.refusal is not None:
                self._owner.refuse(self._form.refusal)
                raise UnsupportedDataFormatException(self._form.refusal)
            chosen = choose(rest) if len(rest) else rest
        except BaseException:
            self._give(chain(self._as_they_were(rest, sizes), self._plain))
            raise
        self._samples = chosen
        self._give(_rebatched(chosen, max(1, self._form.size)))
        self._chosen = True

    def _give(self, batches: Iterator[Any]) -> None:
        self._batches = islice(batches, self._left_out, None) if self._left_out else batches

    def _see(self, batch: Any) -> None:
        self._form.see(batch)
        if self._form.refusal is not None:
            self._owner.refuse(self._form.refusal)

    def _unwrap(self) -> None:
        """Begin with the whole epoch where Accelerate skips what an earlier job has trained on: the
        first batches of a chosen epoch are others than those of a plain one."""
        while skipped := skipped_batches(self._sampler):
            self._left_out += skipped
            self._sampler = self._sampler.batch_sampler
            self._plain = iter(self._sampler)

    def _drain(self, form: BatchForm, already: int = 0) -> tuple[Array, list[int]]:
        """The samples of the sampler's batches up to its length, and the sizes of those batches.

        `already` is how many batches it has given. What cannot be drained stays where it is, and
        `form.refusal` tells why.
        """
        rest, sizes = np.empty(0, np.int64), list[int]()
        if form.refusal is None and (length := known_length(self._sampler)) is None:
            form.refusal = NO_LENGTH
        if form.refusal is not None or not length:
            return rest, sizes
        first = next(self._plain, None)
        if first is None:
            return rest, sizes
        form.see(first)
        if form.refusal is not None:
            self._plain = chain([first], self._plain)
            return rest, sizes
        self._note_start(first)

        def batches() -> Iterator[Any]:
            sizes.append(len(first))
            yield first
            for batch in islice(self._plain, max(0, length - already - 1)):
                form.see(batch)
                sizes.append(len(batch))
                yield batch

        rest = np.fromiter(chain.from_iterable(batches()), np.int64)
        more = next(self._plain, None)
        if more is not None:
            self._plain = chain([more], self._plain)
            form.refusal = ENDLESS
        return rest, sizes

    def _note_start(self, first: Any) -> None:
        """The sampler is about to be drained; `first` is the batch that it has given last."""

    def _as_they_were(self, rest: Array, sizes: list[int]) -> Iterator[Any]:
        start = 0
        for size in sizes:
            yield self._form.write(rest[start : start + size])
            start += size


class _ResumablePass(IndexPass):
    """A pass whose plain iterator has a state, as those of torchdata's StatefulDataLoader have.

    Its state is the plain one until it is chosen from. Then it is that of the start of the chosen
    part, with the number of batches given since: a job that goes on from it is asked again how to
    choose, and leaves out as many batches.
    """

    def __init__(self, owner: _Owner, sampler: Any, batches: Iterator[Any]) -> None:
        super().__init__(owner, sampler, batches)
        self._resumable: Any = batches
        self._start: dict[str, Any] | None = None
        # Some samplers know their place only when they have given something: the state is that
        # after the first batch of the chosen part, which is kept with it.
        self._first: Any = None
        self._dispatched_before = 0

    def state_dict(self) -> dict[str, Any]:
        if self._start is None:
            return dict(self._resumable.state_dict())
        given = self._left_out + self.dispatched - self._dispatched_before
        return {**self._start, _STATE: {"first": self._first, "given": given}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        plain = {name: value for name, value in state.items() if name != _STATE}
        self._resumable.load_state_dict(plain)
        if _STATE not in state:
            self.restored = plain.get("samples_yielded", 0)
            return
        self._start = plain
        self._first, self._left_out = state[_STATE]["first"], state[_STATE]["given"]
        self._plain = self._batches = chain([self._first], self._resumable)

    def choose(self, choose: Choose) -> None:
        if self._begun:
            self._start = None
        super().choose(choose)

    def _note_start(self, first: Any) -> None:
        if self._start is None:
            self._start, self._first = dict(self._resumable.state_dict()), first
            self._dispatched_before = self.dispatched


class _Owner:
    """The loader of some passes, held weakly, and who is asked about it."""

    def __init__(self, loader: DataLoader[Any] | None, listener: Listener | None) -> None:
        self.in_flight: int | None = None
        self._loader: Callable[[], DataLoader[Any] | None] = _nothing
        self._listener = listener
        if loader is not None:
            self._loader = ref(loader)
            self.in_flight = loader.num_workers * (loader.prefetch_factor or 0)

    def ask(self) -> Choose | None:
        """How to choose the pass that begins, if it is to be chosen."""
        loader = self._loader()
        if loader is None or self._listener is None:
            return None
        choose = self._listener(loader)
        return None if choose is None or indexable(loader) is not None else choose

    def refuse(self, reason: str) -> None:
        """Remember what a pass has found out about the loader's batches."""
        loader = self._loader()
        if loader is not None:
            _refused[loader] = reason


def _rebatched(chosen: Array, size: int) -> Iterator[Array]:
    """The batches of what is chosen. Apart from the pass that gives them: a cycle would keep the
    data set, which its sampler holds, after the script has let go of it."""
    return (chosen[start : start + size] for start in range(0, len(chosen), size))


# What passes have found out about batches of which nobody could tell before.
_refused: WeakKeyDictionary[DataLoader[Any], str] = WeakKeyDictionary()


def _unfollowable(loader: DataLoader[Any]) -> str | None:
    if isinstance(loader.dataset, IterableDataset):
        return "its data is iterable"
    if loader.batch_sampler is None:
        return "it makes no batches"
    if loader.num_workers > 1 and not loader.in_order:
        return "its workers give batches out of order"
    # A script may save the place of its sampler, which is at the end once it is drained.
    batch_sampler = loader.batch_sampler
    saved = [batch_sampler] if _asks_iterators(loader) else layers(batch_sampler)
    if any(has_state(layer) for layer in saved):
        return "its sampler has a state of its own"
    return None


def _asks_iterators(loader: DataLoader[Any]) -> bool:
    """Whether a loader saves what the iterator over its batch sampler tells."""
    return any(kind.__name__ == "StatefulDataLoader" for kind in type(loader).__mro__)


def _nothing() -> None:
    """A reference to nothing."""
