"""Workbooks of existing agreements, as people keep them: written by openpyxl, which is not ours.

  make.py mixed OUT   dates as dates, numbers as numbers, merged cells; a formula without a value, a date as text
  make.py many OUT    5,000 rows, of which the last is wrong
  make.py more OUT    a row more
"""

import datetime
import sys

import openpyxl

COLUMNS = [
    "id", "external_reference", "title", "framework", "effective_on", "ends_on", "review_on", "owner", "breach_contact",
    "assessment", "assessment_outcome", "assessment_completed_on", "assessment_current_until", "flow", "provider",
    "provider_party", "recipient", "purpose", "identifiers", "roles", "provider_basis", "recipient_basis", "confidentiality",
    "retain_days", "items", "justification",
]


def row(name, flow):
    day = datetime.date
    return [
        name, "ISG-17", "Care", "The accord", day(2027, 1, 1), datetime.datetime(2029, 1, 1), day(2028, 1, 1), "Head of Care",
        "b@example.org", "DPIA-1", "accepted", day(2026, 10, 1), day(2029, 2, 1), flow, "nhs-pds", "nhs-england",
        "trafford-council", "direct-care", "nhs-number", "social-worker", "6(1)(e); 9(2)(h); part 1 paragraph 2",
        "6(1)(e); 9(2)(h); part 1 paragraph 2", "implied-consent", 365, "person.name", "To care",
    ]


def mixed(sheet):
    sheet.append(row("care-one", "there"))
    second = row("care-one", "again")
    # What is the same for both rows stands once, over both.
    for place in range(13):
        second[place] = None
    sheet.append(second)
    for column in range(1, 14):
        sheet.merge_cells(start_row=2, end_row=3, start_column=column, end_column=column)
    formula = row("care-two", "there")
    formula[COLUMNS.index("owner")] = '=H2&" of Care"'
    sheet.append(formula)
    text = row("care-three", "there")
    text[COLUMNS.index("effective_on")] = "31/03/2027"
    sheet.append(text)


def many(sheet, rows):
    for number in range(rows):
        sheet.append(row(f"care-{number // 50}", f"flow-{number % 50}"))
    sheet.cell(row=rows + 1, column=COLUMNS.index("retain_days") + 1).value = "a year"


def main():
    kind, out = sys.argv[1:]
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    sheet.append(COLUMNS)
    {"mixed": mixed, "many": lambda to: many(to, 5000), "more": lambda to: many(to, 5001)}[kind](sheet)
    workbook.create_sheet("Notes").append(["Only the first sheet is read"])
    workbook.save(out)


main()
