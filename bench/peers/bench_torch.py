"""Times asapnet_torch.py under the names that bench_asapnet prints, so that rows can be laid side by side:

    python3 bench/peers/bench_torch.py --threads 2 --reuse-pages

Batch 1, float32, random weights, VGG-19 of the full widths. Every row runs in a process of its own, so that its peak
resident memory is its own. --reuse-pages tells glibc's malloc to keep freed memory, as our allocator does; without it
PyTorch spends a good part of its time on page faults. Compare with the faster of the two.
"""
import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import time

import torch

from asapnet_torch import (Discriminator, Generator, TrainingStep, Vgg19, highres_stream, one_hot_input, preset)

INFERENCE_PRESETS = ["facades256", "facades512", "facades1024", "cityscapes256", "cityscapes512"]
TRAINING_PRESETS = ["facades256", "facades512"]
MALLOC_KEEPS_PAGES = {"MALLOC_TRIM_THRESHOLD_": "4294967296", "MALLOC_MMAP_THRESHOLD_": "4294967296",
                      "MALLOC_TOP_PAD_": "67108864"}


def row_names():
    names = []
    for name in INFERENCE_PRESETS:
        names += [f"{kind}/{name}/float32" for kind in ("inference", "lowres_stream", "highres_stream")]
    return names + [f"train_step/{name}/float32" for name in TRAINING_PRESETS]


def random_picture(config):
    """Labels [1,H,W], instance edges [1,1,H,W] or None, photo [1,3,H,W]."""
    size = (config.height, config.crop_size)
    labels = torch.randint(config.label_nc, (1, *size))
    instance = None if config.no_instance_edge else torch.randint(2, (1, 1, *size)).float()
    return labels, instance, torch.rand(1, 3, *size) * 2 - 1


def make_work(name, lean):
    """The function to time, without arguments."""
    kind, preset_name, _ = name.split("/")
    config = preset(preset_name)
    labels, instance, photo = random_picture(config)
    generator = Generator(config)
    if kind == "inference":
        return lambda: generator(one_hot_input(config, labels, instance))
    if kind == "lowres_stream":
        x = one_hot_input(config, labels, instance)
        return lambda: generator.lowres_stream(x)
    if kind == "highres_stream":
        x = one_hot_input(config, labels, instance)
        phi = generator.lowres_stream(x)
        return lambda: highres_stream(config, x, phi)
    step = TrainingStep(config, generator, Discriminator(config), Vgg19(), lean)
    return lambda: step(labels, photo, instance)


def time_row(name, lean, repetitions):
    training = name.startswith("train_step")
    with torch.set_grad_enabled(training):
        work = make_work(name, lean)
        for _ in range(2):
            work()
        seconds = []
        for _ in range(repetitions or (5 if training else 11)):
            begin = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - begin)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    milliseconds = [1000 * s for s in seconds]
    print(f"{name:36} median {statistics.median(milliseconds):8.1f} ms  min {min(milliseconds):8.1f}"
          f"  max {max(milliseconds):8.1f}  cv {100 * statistics.stdev(seconds) / statistics.mean(seconds):4.1f} %"
          f"  peak RSS {peak_mib:6.0f} MiB", flush=True)


def run_in_own_process(name, arguments):
    environment = dict(os.environ)
    if arguments.reuse_pages:
        environment.update(MALLOC_KEEPS_PAGES)
    command = [sys.executable, __file__, "--row", name, "--threads", str(arguments.threads),
               "--repetitions", str(arguments.repetitions)] + (["--lean"] if arguments.lean else [])
    subprocess.run(command, env=environment, check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="PyTorch's threads (default: one a core)")
    parser.add_argument("--filter", default="", metavar="REGEX", help="only rows whose name it matches")
    parser.add_argument("--repetitions", type=int, default=0, metavar="N", help="default: 11, training 5; at least 2")
    parser.add_argument("--reuse-pages", action="store_true", help="let glibc's malloc keep freed memory")
    parser.add_argument("--lean", action="store_true", help="no weight gradients of D in the G step")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.row:
        time_row(arguments.row, arguments.lean, arguments.repetitions)
        return
    print(f"PyTorch {torch.__version__}, {arguments.threads} threads"
          f"{', malloc keeps pages' if arguments.reuse_pages else ''}{', lean' if arguments.lean else ''}")
    for name in row_names():
        if re.search(arguments.filter, name):
            run_in_own_process(name, arguments)


if __name__ == "__main__":
    main()
