"""What this process keeps beside the script's checkpoints, and takes up again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import ReferenceType, ref

from smart_sifting import receipt
from smart_sifting.checkpoints import fingerprint
from smart_sifting.checkpoints.hooks import OURS
from smart_sifting.checkpoints.states import State, States
from smart_sifting.checkpoints.whole_file import replaceable, sweep, write_whole
from smart_sifting.epoch_plan import DataName
from smart_sifting.errors import ReceiptException
from smart_sifting.job_report import JobReport
from smart_sifting.ranks import same_on_all_ranks
from smart_sifting.receipt import Receipt, Resumed
from smart_sifting.sifter import Sifter

if TYPE_CHECKING:
    from smart_sifting.memory.sifter import MemorySifter

AnySifter: TypeAlias = "Sifter | MemorySifter"

SCHEMA = 3

# Of the job's time that may go into states of buffers, which may be checkpoints or may not.
SHARE_FOR_BUFFERS = 0.01
# Of the job's time that may go into states within epochs, and seconds that always may: a script may
# save every few steps, and the state of a large data set takes long.
SHARE_WITHIN_EPOCHS, SECONDS_WITHIN_EPOCHS = 0.01, 1.0
# How old the live receipt may be, as a share of the job's time: folders are often synced for money.
SHARE_OF_LIVE_RECEIPT = 0.01


class Keeper:
    """Saves the state of this process with each checkpoint, and stages that of one being loaded.

    Nothing here raises into the script: what fails is said once, and the script goes on.

    Args:
        folder: where the script keeps its checkpoints.
        report: what is counted; a resumed report goes on from its state at once.
        config: the job's sifting configuration; a state of another one is not used.
        save, load: torch's own.
    """

    def __init__(
        self,
        folder: Path,
        report: JobReport,
        config: str | None,
        save: Callable[..., None],
        load: Callable[..., Any],
    ) -> None:
        self.states = States(folder / OURS, save, load)
        self._folder = folder
        self._report = report
        self._config = config
        self._clock = report.meter.clock
        self._sifters: list[tuple[DataName, ReferenceType[AnySifter]]] = []
        self._staged: State | None = None
        self._taken: Counter[str] = Counter()
        self._pending: dict[str, State] = {}
        # The moment of the state that was written last, and the checkpoint that it is with.
        self._latest: tuple[tuple[int, ...], str] | None = None
        self._in_use = False
        self._seconds_for_buffers = 0.0
        self._seconds_within_epochs = 0.0
        self._live_written: float | None = None
        # The keeper of the interrupted process wrote these; this one's will take their place.
        self._known_sizes = self.states.sizes()
        self._interrupted = self._live_receipt()
        if self.states.folder.is_dir():
            sweep(self.states.folder)
            self.states.look_old()
        report.keeper = self
        report.meter.epoch_listener = self.epoch_ended

    # -- the script saves ----------------------------------------------------------------------

    def save(self, save_to: Callable[[Any], Any], target: Any, path: Path | None) -> Any:
        """Let the script save to `target`, which is at `path` or a buffer.

        A file below the folder is replaced once the new one is whole.
        """
        if isinstance(target, BytesIO):
            return self._save_to_buffer(save_to, target)
        if path is None:
            return save_to(target)
        named = not hasattr(target, "write")
        whole = named and self._scratch() and replaceable(path)
        if whole and write_whole(path, self.states.folder, save_to, self._saved):
            self.states.look_old()
            return None
        result = save_to(target)
        if not named:
            target.flush()
        self._saved(path)
        return result

    def _save_to_buffer(self, save_to: Callable[[Any], Any], target: BytesIO) -> Any:
        empty = target.tell() == 0
        result = save_to(target)
        start = self._clock()
        allowed = SHARE_FOR_BUFFERS * (start - self._report.meter.started)
        if empty and self._seconds_for_buffers <= allowed:
            self._guarded(lambda: self._keep(fingerprint.of_bytes(target.getbuffer())))
            self._seconds_for_buffers += self._clock() - start
        return result

    def _saved(self, path: Path) -> None:
        """A checkpoint is whole, though perhaps not yet under its own name."""
        self._in_use = True
        within = any(each.unfinished for each in self._report.passes)
        if within and not self._affordable():
            self._report.note(
                "some checkpoints within an epoch have no sifting state, which would have taken "
                f"more than {SHARE_WITHIN_EPOCHS:.0%} of the time: a job that goes on from one of "
                "them sifts anew"
            )
            return
        start = self._clock()
        self._guarded(lambda: self._keep(fingerprint.of_file(path)))
        if within:
            self._seconds_within_epochs += self._clock() - start

    def _affordable(self) -> bool:
        """Whether the job's time allows another state within an epoch."""
        share = SHARE_WITHIN_EPOCHS * self._report.meter.elapsed()
        return self._seconds_within_epochs <= max(SECONDS_WITHIN_EPOCHS, share)

    def _scratch(self) -> bool:
        """Whether there is a place for files that are not whole yet."""
        try:
            if self._folder.is_dir():  # else the script will see that it has forgotten to make it
                self.states.make_folder()
                return True
        except OSError:
            pass  # no place: the script's file is written as torch does it
        return False

    def _keep(self, name: str) -> None:
        """Write the state, or keep it in memory until the folder is seen to be used."""
        if not self._report.trained:
            return
        moment, rank = self._moment(), self._report.rank
        as_of = self._latest[1] if self._latest and self._latest[0] == moment else None
        if as_of is not None and self.states.keep_same(name, as_of, rank):
            return
        self._pending[name] = self._state()
        self._flush()
        self._latest = None if self._pending else (moment, name)

    def _moment(self) -> tuple[int, ...]:
        """The same as long as nothing is trained: a checkpoint may be several files."""
        meter, passes = self._report.meter, list(self._report.passes)
        running = (sum(p.unfinished for p in passes), sum(p.repeatable for p in passes))
        return meter.epochs, meter.batches_given, meter.steps, *running

    def _flush(self) -> None:
        if not self._used():
            # The script's buffers were no checkpoints so far: one is enough to remember.
            self._pending = dict(list(self._pending.items())[-1:])
            return
        while self._pending:
            name, state = self._pending.popitem()
            self.states.keep(name, self._report.rank, state)

    def _used(self) -> bool:
        """Whether the script keeps anything here: no folder of ours shall be the only one."""
        if not self._in_use and self._folder.is_dir():
            self._in_use = any(each.name != OURS for each in self._folder.iterdir())
        return self._in_use

    def _state(self) -> State:
        report = self._report
        alive = [(data, sifter) for data, known in self._sifters if (sifter := known())]
        return {
            "schema": SCHEMA,
            "rank": report.rank,
            "world_size": report.world_size,
            "config": self._config,
            "report": report.state_dict(),
            "sifters": [
                {
                    "data": data,
                    "kind": sifter.kind,
                    "config": sifter.config.to_json(),
                    "state": sifter.safe_state_dict(),
                }
                for data, sifter in alive
            ],
        }

    def epoch_ended(self) -> None:
        """Where one rank saves for all, it does so most likely now: the others keep theirs."""
        if self._report.rank:
            self._guarded(lambda: self._keep(_moment_name(self._report.state_dict())))

    # -- the script loads ----------------------------------------------------------------------

    def loaded(self, source: Any, *, below: bool) -> None:
        """The script has loaded a file, or a buffer, which may be one of its checkpoints."""
        if not self._report.begun:
            self._guarded(lambda: self._look_up(source, below), "used")

    def _look_up(self, source: Any, below: bool) -> None:
        name = self._fingerprint_if_known(source)
        state = name and self._own_state(name)
        label = source.name if isinstance(source, Path) else "a checkpoint"
        if not state:
            if below and self._staged is None:
                self._report.note(f"{label} has no sifting state with it: sifting starts anew")
            return
        refusal = self._refusal(state)
        if refusal:
            self._report.note(f"the sifting state with {label} is not used: {refusal}")
        elif self._staged is None or _moment_of(state) != _moment_of(self._staged):
            self._stage(state, label)

    def _fingerprint_if_known(self, source: Any) -> str | None:
        if isinstance(source, Path):
            known = source.stat().st_size in self._known_sizes
            return fingerprint.of_file(source) if known else None
        if isinstance(source, BytesIO):
            content = source.getbuffer()
            return fingerprint.of_bytes(content) if len(content) in self._known_sizes else None
        return None

    def _own_state(self, name: str) -> State | None:
        """This rank's state with a checkpoint, or with the moment at which another saved it."""
        rank = self._report.rank
        own = self.states.find(name, rank)
        if own is not None:
            return own
        saver = self.states.of_any_rank(name)
        if saver is None or saver.get("schema") != SCHEMA:
            return saver
        # Ranks keep equally many samples in step: at worst the other's counts do for this one.
        return self.states.find(_moment_name(saver["report"]), rank) or saver

    def _refusal(self, state: State) -> str | None:
        if state.get("schema") != SCHEMA:
            return "another release of sift-launcher wrote it"
        if state["world_size"] != self._report.world_size:
            return f"it is of {state['world_size']} ranks, and here are {self._report.world_size}"
        if state["config"] != self._config:
            return "the job is sifted in another way now"
        return None

    def _stage(self, state: State, label: str) -> None:
        report = self._report
        report.load_state_dict(state["report"])
        self._staged = state
        restart = self._lost(report)
        report.resumed.append(restart)
        meter = report.meter
        report.say(
            f"resumed from {label}: sifting goes on after epoch {meter.epochs} and "
            f"step {meter.steps}"
        )
        self._write_live(report.receipt())

    def _lost(self, report: JobReport) -> Resumed:
        """The restart, and what was done after the checkpoint and is done again."""
        step, elapsed = report.meter.steps, report.meter.elapsed()
        before = self._interrupted
        if before is None:
            return Resumed(step)
        if len(before.resumed) > len(report.resumed):
            report.resumed = list(before.resumed)
        return Resumed(
            step, max(0, before.steps - step), max(0.0, round(before.seconds.total - elapsed, 3))
        )

    # -- a loader begins to train --------------------------------------------------------------

    @property
    def resumes(self) -> bool:
        """Whether the state of a loader is there to be taken up."""
        return self._staged is not None and bool(self._staged["sifters"])

    @property
    def can_resume(self) -> bool:
        """Whether an interrupted process has left any state here."""
        return bool(self._known_sizes)

    def register(self, sifter: AnySifter, data: DataName) -> None:
        """From now on keep the state of a sifter over such data."""
        self._sifters = [each for each in self._sifters if each[1]() is not None]
        self._sifters.append((data, ref(sifter)))

    def take_up(self, sifter: AnySifter, *, agree: bool) -> bool:
        """Let a registered sifter go on from the staged state, if there is one for it.

        `agree` is a collective: then all ranks resume from the same moment, or none does.
        """
        if agree and not same_on_all_ranks(_number(self._staged)):
            if self._staged is not None:
                self._report.note("the sifting state is not used: another rank has none like it")
            self._staged = None
        data = next(data for data, known in self._sifters if known() is sifter)
        state = self._staged_for(data, sifter)
        if self._staged is None or state is None:
            return False
        self._taken[str(data)] += 1
        own = self._staged["rank"] == self._report.rank
        resumed = self._guarded(
            lambda: sifter.resume(state if own else {**state, "carried": []}), "used"
        )
        if not resumed:
            self._staged = None
        return resumed

    def _staged_for(self, data: DataName, sifter: AnySifter) -> State | None:
        """A loader made anew finds the state of the one before it, where it has none of its own."""
        if self._staged is None:
            return None
        states = [
            each["state"]
            for each in self._staged["sifters"]
            if each["data"] == data
            and each["kind"] == sifter.kind
            and each["config"] == sifter.config.to_json()
        ]
        return states[min(self._taken[str(data)], len(states) - 1)] if states else None

    # -- while the job runs --------------------------------------------------------------------

    def receipt_written(self, current: Receipt) -> None:
        """Leave the receipt here too: if the job is interrupted, it tells how far it had come."""
        self._guarded(lambda: self._live(current))

    def _live(self, current: Receipt) -> None:
        self._flush()
        if not self._used():
            return
        now = self._clock()
        wait = SHARE_OF_LIVE_RECEIPT * (now - self._report.meter.started)
        if current.final or self._live_written is None or now - self._live_written >= wait:
            self._write_live(current)

    def _write_live(self, current: Receipt) -> None:
        self._live_written = self._clock()
        current.write(self.states.folder / receipt.file_name(current.rank))
        self.states.look_old()

    def _live_receipt(self) -> Receipt | None:
        try:
            return receipt.read(self.states.folder / receipt.file_name(self._report.rank))
        except ReceiptException:
            return None

    def _guarded(self, work: Callable[[], None], purpose: str = "kept") -> bool:
        """Whether the work was done."""
        try:
            work()
        except Exception as failure:  # noqa: BLE001 - the script saves and loads in any case
            text = " ".join(str(failure).split())[:200] or type(failure).__name__
            self._report.note(f"the sifting state is not {purpose}: {text}")
            return False
        return True


def _moment_of(state: State) -> tuple[int, int]:
    meter = state["report"]["meter"]
    return meter["epochs"], meter["batches_given"]


def _moment_name(report: State) -> str:
    return f"epoch-{report['meter']['epochs']}-{report['meter']['batches_given']}"


def _number(state: State | None) -> int:
    """A number that is the same on all ranks that resume from the same moment; 0 without one."""
    if state is None:
        return 0
    epochs, batches = _moment_of(state)
    return 1 + epochs + (batches << 20)
