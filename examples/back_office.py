"""What a back office exports: a title, serial numbers, codes that became numbers, used ones, a total. Needs openpyxl.

Writes 导出.xlsx into the current folder.
"""

from openpyxl import Workbook

book = Workbook()
sheet = book.worksheets[0]
sheet.append(["优惠券导出（2026 年 8 月）"])
sheet.append(["序号", "内部编号", "券码", "状态"])
for number in range(1, 61):
    code = f"KF{number:010d}" if number % 3 else 600000000000 + number
    sheet.append([str(number), f"N{number}", code, "已使用" if number % 10 == 0 else "未使用"])
sheet.append(["合计", None, 60, None])
sheet.column_dimensions["B"].hidden = True
book.save("导出.xlsx")
