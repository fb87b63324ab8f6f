"""The command as a module, for several processes: `torchrun --nproc-per-node 2 -m unweave train
digits`.
"""

from .cli import main

if __name__ == "__main__":
    main()
