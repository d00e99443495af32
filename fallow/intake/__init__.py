"""Reading what people hand in: files of cancelled numbers, and the policy. Imports the domain, phonenumbers and pydantic.

Nothing is guessed here: what can be read in two ways is refused, with the line and the column but never the cell.
"""
