"""What `benchmarks.fuzz --guided` runs for each reader: python -m benchmarks.fuzz_guided READER INPUTS SEED."""

import os
import sys
import tempfile
from pathlib import Path
from random import Random

import atheris

with atheris.instrument_imports(include=["raptor_jax", "yaml", "json", "zipfile"]):
    from benchmarks.fuzz import Tally
    from validation.fuzz import readers


def main() -> None:
    """Tries the inputs that atheris finds, prints the reader's row, and ends the process with status 0 or 1."""
    name, inputs, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    base = Path(tempfile.mkdtemp(prefix="fuzz_"))
    os.chdir(base)
    readers.make_run(base / "run")
    reader = next(reader for reader in readers.all_readers(base / "run") if reader.name == name)
    assert reader.example is not None
    corpus = base / "corpus"
    corpus.mkdir()
    (corpus / "valid").write_bytes(reader.example)
    for number in range(50):
        (corpus / str(number)).write_bytes(reader.draw(Random(f"{seed}/{name}/{number}")))
    tally, tried = Tally(reader, base), 0

    def attempt(content: bytes) -> None:
        nonlocal tried
        tried += 1
        tally.attempt(content, str(tried))
        if tried == inputs:
            print(tally.row(f"{name}, guided"))
            print("\n".join(f"{kind}\n{told}" for kind, told in tally.defects.items()))
            sys.stdout.flush()
            # libFuzzer ends without Python's own end, and with a status of its own.
            os._exit(1 if tally.defects else 0)

    atheris.Setup([sys.argv[0], f"-seed={seed + 1}", f"-max_len={2 * len(reader.example)}", str(corpus)], attempt)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
