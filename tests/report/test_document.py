from nas_mer.errors import UserError
from nas_mer.report.document import Cell, Paragraph, Table, told


def test_cells_show_one_thing_and_are_sorted_by_another():
    cells = [Cell.percent(0.126), Cell.signed(0.5), Cell.interval((0.25, 1.0)), Cell.interval(None), Cell.of(12345)]
    assert [cell.text for cell in cells] == ["13%", "+0.500", "[0.250, 1.000]", "\u2013", "12,345"]
    assert [cell.order for cell in cells] == [0.126, 0.5, 0.25, None, 12345]


def test_columns_of_numbers_are_known_though_some_are_missing():
    table = Table("", ["name", "share"], [["a", Cell.percent(0.1)], ["b", None]])
    assert table.numeric == [False, True]


def test_what_cannot_be_told_is_told_instead_and_the_next_is_told():
    def tell(number):
        yield Paragraph(f"{number}")
        if number == 1:
            raise UserError("one is gone")
        yield Paragraph("more")

    assert list(told(tell, [1, 2])) == [
        Paragraph("1"),
        Paragraph("one is gone", missing=True),
        Paragraph("2"),
        Paragraph("more"),
    ]
