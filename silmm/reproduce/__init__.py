"""The paper's tables and figures in one command (`silmm reproduce`): declarations that run over shared stages.

The modules: :mod:`experiment` (what a declaration is), :mod:`paper_tables` and :mod:`paper_figures` (the
declarations), :mod:`listing` (all of them by name), :mod:`row_settings` (rows to the settings of runs), :mod:`sharing`
and :mod:`rescoring` (no stage runs twice), :mod:`measuring` and :mod:`ordering` (numbers), :mod:`reproduction` (all of
it in order), :mod:`result_files` and :mod:`plotting`.
"""
