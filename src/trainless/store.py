from dataclasses import dataclass
@dataclass(frozen=True)
class Run:
    space: str; task: str; seed: int; fidelity: str
class Store: pass
