"""Forces of an interatomic model, as in CHGNet (Deng et al. 2023), beside PyTorch: the same program by both.

    python -m benchmarks.training.forces [--atoms 60] [--rounds 5] [--threads 1] [--profile KIND]

Energy from positions: embeddings of the elements, Gaussian expansions of distances and Fourier series of
angles, gated MLPs on atoms, bonds and angles, sums over bonds. Three kinds: the energy alone; forces, its
gradient by the positions; a step of training on energy and forces, whose loss is differentiated through the
forces (``create_graph``). Energies, forces and gradients of the weights are compared first, and the forces
with differences of the energy. Each library runs in a process of its own, in turn; times are those of the
processor. `--profile` prints the functions that take longest here. `RANVIER_PEER_TORCH` is the Python that
has PyTorch.
"""

import argparse
import cProfile
import importlib
import json
import os
import pstats
import statistics
import subprocess
import sys
import time

import numpy as np

KINDS = ("energy", "forces", "training")
WIDTH, GAUSSIANS, LAYERS, CUTOFF, NEAR, STRUCTURES = 64, 31, 3, 5.0, 3.0, 4


def structures(atoms, seed=0):
    """(positions, elements, structure of each atom, bonds (2, E), pairs of bonds at one atom (2, A))"""
    rng = np.random.default_rng(seed)
    side = (atoms * 14.0) ** (1 / 3)
    position, owner = [], np.repeat(np.arange(STRUCTURES), atoms)
    for _ in range(STRUCTURES):
        grid = np.stack(np.meshgrid(*[np.arange(0, side, 2.4)] * 3), -1).reshape(-1, 3)
        position.append(rng.permutation(grid)[:atoms] + rng.normal(0, 0.1, (atoms, 3)))
    position = np.concatenate(position)
    apart = np.linalg.norm(position[:, None] - position, axis=-1)
    bonds = np.stack(np.nonzero((apart < CUTOFF) & (apart > 0) & (owner[:, None] == owner)))
    near = np.flatnonzero(apart[bonds[0], bonds[1]] < NEAR)
    first, second = np.nonzero((bonds[0, near][:, None] == bonds[0, near]) & (near[:, None] != near))
    return position, rng.integers(0, 89, len(position)), owner, bonds, np.stack([near[first], near[second]])


def model_of(lib):
    """The model's class, by the library's own layers."""
    nn, F = lib.nn, lib.nn.functional

    class Gated(nn.Module):
        def __init__(self, inputs):
            super().__init__()
            self.core = nn.Sequential(nn.Linear(inputs, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH))
            self.gate = nn.Sequential(nn.Linear(inputs, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH))
            self.norms = nn.ModuleList([nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)])

        def forward(self, x):
            core, gate = self.norms
            return F.silu(core(self.core(x))) * lib.sigmoid(gate(self.gate(x)))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.elements = nn.Embedding(89, WIDTH)
            self.of_distance = nn.Linear(GAUSSIANS, WIDTH, bias=False)
            self.weight_of_bond = nn.Linear(GAUSSIANS, WIDTH, bias=False)
            self.of_angle = nn.Linear(9, WIDTH, bias=False)
            self.atoms = nn.ModuleList([Gated(3 * WIDTH) for _ in range(LAYERS)])
            self.bonds = nn.ModuleList([Gated(4 * WIDTH) for _ in range(LAYERS - 1)])
            self.mixes = nn.ModuleList([nn.Linear(WIDTH, WIDTH) for _ in range(2 * LAYERS - 1)])
            self.readout = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, 1))

        def forward(self, position, element, owner, bonds, pairs):
            source, target = bonds
            first, second = pairs
            apart = position[target] - position[source]
            distance = apart.norm(dim=1)
            centres = lib.linspace(0, CUTOFF, GAUSSIANS, dtype=position.dtype)
            r = distance / CUTOFF
            smooth = 1 - 28 * r**6 + 48 * r**7 - 21 * r**8
            gaussians = lib.exp(-(((distance[:, None] - centres) / 0.4) ** 2)) * smooth[:, None]
            bond, weight = self.of_distance(gaussians), self.weight_of_bond(gaussians)
            u, v = apart[first], apart[second]
            cosine = (u * v).sum(1) / (distance[first] * distance[second])
            theta = lib.acos(cosine * (1 - 1e-6))
            waves = theta[:, None] * lib.arange(1, 5, dtype=position.dtype)
            angle = self.of_angle(lib.cat([lib.ones_like(theta)[:, None], lib.sin(waves), lib.cos(waves)], 1))
            atom = self.elements(element)
            for layer in range(LAYERS):
                message = self.atoms[layer](lib.cat([atom[source], bond, atom[target]], 1)) * weight
                summed = lib.zeros_like(atom).index_add(0, source, message)
                atom = atom + self.mixes[layer](summed)
                if layer < LAYERS - 1:
                    inputs = lib.cat([bond[first], bond[second], angle, atom[source[first]]], 1)
                    message = self.bonds[layer](inputs) * weight[first] * weight[second]
                    summed = lib.zeros_like(bond).index_add(0, first, message)
                    bond = bond + self.mixes[LAYERS + layer](summed)
            of_atom = self.readout(atom)[:, 0]
            return lib.zeros(STRUCTURES, dtype=position.dtype).index_add(0, owner, of_atom)

    return Model


class Job:
    """One library's model, data and three kinds of calls."""

    def __init__(self, name, atoms, dtype="float32"):
        self.lib = lib = importlib.import_module(name)
        position, *indices = structures(atoms)
        self.model, rng = model_of(lib)(), np.random.default_rng(1)
        if dtype == "float64":
            self.model.double()
        with lib.no_grad():
            for p in self.model.parameters():
                shape = tuple(p.shape)
                value = (
                    rng.normal(0, shape[-1] ** -0.5, shape) if len(shape) > 1 else rng.normal(0.5, 0.1, shape)
                )
                p.copy_(lib.tensor(value.astype(dtype)))
        self.position = lib.tensor(position.astype(dtype), requires_grad=True)
        self.indices = [lib.tensor(x) for x in indices]
        self.target = lib.tensor(rng.normal(0, 1, position.shape).astype(dtype))

    def energy(self):
        return self.model(self.position, *self.indices)

    def forces(self, create_graph=False):
        energy = self.energy()
        (slope,) = self.lib.autograd.grad(energy.sum(), self.position, create_graph=create_graph)
        return energy, -slope

    def training(self):
        self.model.zero_grad()
        energy, forces = self.forces(create_graph=True)
        loss = (energy**2).mean() * 1e-4 + ((forces - self.target) ** 2).mean()
        loss.backward()
        return loss

    def answers(self):
        energy, forces = self.forces()
        self.training()
        slopes = [p.grad.reshape(-1) for p in self.model.parameters() if p.grad is not None]
        return [x.detach().numpy().tolist() for x in (energy, forces, self.lib.cat(slopes))]


def work(arguments):
    """A process of one library: the answers, then for each line that it reads the time of a call."""
    job = Job(arguments.library, arguments.atoms)
    job.lib.set_num_threads(arguments.threads)
    print(json.dumps(job.answers()), flush=True)
    for kind in sys.stdin:
        call, calls = getattr(job, kind.strip()), 0
        call()
        start = time.process_time()
        while calls < 3 or time.process_time() - start < 0.5:
            call()
            calls += 1
        print((time.process_time() - start) / calls, flush=True)


def check(ours, theirs, atoms):
    """Raises AssertionError where the answers differ, or forces are not the slope of the energy."""
    for name, a, b in zip(("energies", "forces", "gradients of the weights"), ours, theirs, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        error = np.abs(a - b).max() / np.abs(b).max()
        print(f"{name}: differ by {error:.1e} of the largest")
        assert error < 1e-3, name
    job = Job("ranvier", atoms, "float64")
    _, forces = job.forces()
    for atom, axis in ((0, 0), (atoms // 2, 1)):
        energies = []
        for step in (1e-5, -1e-5):
            with job.lib.no_grad():
                job.position[atom, axis] += step
                energies.append(job.energy().sum().item())
                job.position[atom, axis] -= step
        slope = (energies[0] - energies[1]) / 2e-5
        assert abs(slope + forces[atom, axis].item()) < 1e-5 * (1 + abs(slope))


def main():
    """Reads the arguments; prints the time of each kind of call and its ratio to PyTorch's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--atoms", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--profile", choices=KINDS)
    parser.add_argument("--library")
    arguments = parser.parse_args()
    if arguments.library:
        return work(arguments)
    if arguments.profile:
        call, profile = getattr(Job("ranvier", arguments.atoms), arguments.profile), cProfile.Profile()
        call()
        for _ in range(10):
            profile.runcall(call)
        return pstats.Stats(profile).sort_stats("tottime").print_stats(25)
    pythons = {"ranvier": sys.executable, "torch": os.environ.get("RANVIER_PEER_TORCH", sys.executable)}
    settings = ["--atoms", str(arguments.atoms), "--threads", str(arguments.threads)]
    workers = {
        name: subprocess.Popen(
            [python, "-m", "benchmarks.training.forces", "--library", name, *settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, python in pythons.items()
    }
    check(*[json.loads(worker.stdout.readline()) for worker in workers.values()], arguments.atoms)
    _, _, _, bonds, pairs = structures(arguments.atoms)
    print(
        f"{STRUCTURES} structures of {arguments.atoms} atoms, {bonds.shape[1]} bonds, {pairs.shape[1]} angles"
    )
    for kind in KINDS:
        times = {name: [] for name in workers}
        for _ in range(arguments.rounds):
            for name, worker in workers.items():
                worker.stdin.write(f"{kind}\n")
                worker.stdin.flush()
                times[name].append(float(worker.stdout.readline()))
        ours, theirs = (statistics.median(t) for t in times.values())
        print(f"{kind:10} {1e3 * ours:8.2f} ms, PyTorch {1e3 * theirs:8.2f}: {theirs / ours:.2f}", flush=True)
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    return None


if __name__ == "__main__":
    main()
