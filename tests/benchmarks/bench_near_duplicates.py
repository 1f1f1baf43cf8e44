"""Near-duplicates of a large set against faiss' brute force.

    python tests/benchmarks/bench_near_duplicates.py [IMAGES]

Made images: patterns with the spectrum of photos, embeddings of the built-in encoder's length with a decaying spectrum around ten
centers, forty of them copies of others. Prints processor seconds of one core: of faiss (IndexFlatIP, eight neighbors by embedding
alone; a share of the images is searched, and the time multiplied; needs faiss-cpu), of the index of near-duplicates, and of one
more image. Aim: .2 times brute force at 100,000 images.
"""

import sys
import time

import numpy as np

DIMENSIONS, RANK, LABELS, COPIES, BLOCK, NEW, SEARCHED = 2888, 256, 10, 40, 4096, 100, 1000


def made(count):
    """Yield patterns and embeddings, a block at a time; the last COPIES are copies of the first ones."""
    random = np.random.default_rng(1)
    basis = random.standard_normal((RANK, DIMENSIONS), np.float32) * np.arange(1, RANK + 1, dtype="f4")[:, None] ** -0.5
    centers = random.standard_normal((LABELS, DIMENSIONS), np.float32)
    common = random.standard_normal(DIMENSIONS, np.float32) * 3
    frequency = np.hypot(np.fft.fftfreq(48)[:, None], np.fft.rfftfreq(48)) * 48
    amplitude = 1 / np.maximum(frequency, 1) ** 1.2
    first = None
    for start in range(0, count, BLOCK):
        rows = min(BLOCK, count - start)
        noise = np.fft.rfft2(random.standard_normal((rows, 48, 48))) * amplitude
        patterns = np.fft.irfft2(noise, (48, 48))
        patterns = np.clip(128 + 45 * patterns / patterns.std(axis=(1, 2), keepdims=True), 6, 244)
        labels = np.arange(start, start + rows) % LABELS
        embeddings = random.standard_normal((rows, RANK), np.float32) @ basis + centers[labels] + common
        embeddings += random.standard_normal((rows, DIMENSIONS), np.float32) / 4
        first = (patterns[:COPIES].copy(), embeddings[:COPIES].copy()) if first is None else first
        if start + rows == count and count > 2 * COPIES:
            patterns[-COPIES:] = first[0] * 0.9 + 12 + random.normal(0, 1, first[0].shape)
            embeddings[-COPIES:] = first[1] + random.standard_normal(first[1].shape, np.float32) / 4
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        yield np.round(patterns).astype(np.uint8), embeddings.astype(np.float16)


def busy(work):
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def compare(count):
    from apitorch_desktop.vision.near_duplicates import NearDuplicateIndex

    parts = list(made(count))
    patterns, embeddings = (np.concatenate(each) for each in zip(*parts, strict=True))
    brute = None
    try:
        import faiss
    except ImportError:
        print("faiss-cpu is not installed: no brute force")
    else:
        faiss.omp_set_num_threads(1)
        flat = faiss.IndexFlatIP(DIMENSIONS)
        flat.add(embeddings.astype(np.float32))
        queries = embeddings[:: max(1, count // SEARCHED)].astype(np.float32)
        brute = busy(lambda: flat.search(queries, 9))[0] * count / len(queries)
        print(f"faiss, brute force: {brute:.0f} s", flush=True)
        del flat
    index = NearDuplicateIndex(patterns.__getitem__, embeddings.__getitem__)
    seconds, _ = busy(lambda: index.extend(count - NEW))
    searching, pairs = busy(lambda: index.compare(0, count - NEW))
    adding, more = busy(lambda: (index.extend(NEW), index.compare(count - NEW, count))[1])
    ratio = f", {(seconds + searching + adding) / brute:.2f} of it" if brute else ""
    print(
        f"the index: {seconds:.1f} s to make, {searching:.0f} s to compare{ratio}; an image more {adding / NEW * 1000:.1f} ms"
    )
    right = {(at, count - COPIES + at) for at in range(COPIES)}
    found = {(pair.first, pair.second) for pair in pairs + more}
    print(f"{len(found & right)} of {COPIES} copies found, {len(found - right)} other pairs", flush=True)


if __name__ == "__main__":
    compare(int((sys.argv[1:] or ["100000"])[0]))
