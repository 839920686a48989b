"""The paper's tables and figures in one command (`silmm reproduce`): data that is run over shared stages.

The modules: :mod:`experiment` (what a declaration is), :mod:`paper_tables` and :mod:`paper_figures` (the
declarations), :mod:`resolving` (rows to settings), :mod:`sharing` (no stage twice), :mod:`measuring` and
:mod:`ordering` (numbers), :mod:`reproduction` (all of it in turn), :mod:`writing` and :mod:`plotting`.
"""
