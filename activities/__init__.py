"""Effects: what the workflows cause, one class per stage, with the outside as ports in the constructor.

Imports :mod:`fallow.domain` and ``temporalio.activity`` only. Every class registers bound methods; their names are the
activity types that an auditor reads in a history.
"""
