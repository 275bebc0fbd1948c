"""A spreadsheet export of half a million rows, as one gets them: repeats, spoiled numbers, full-width letters.

Writes codes.csv, and yesterday.txt with a thousand of its codes, into the current folder.
"""

import random
from pathlib import Path

chance = random.Random(1)
good = [f"QM{number:012d}" for number in chance.sample(range(10**12), 497_388)]
rows = [*good, *chance.choices(good, k=2_400), *["1.23E+15"] * 112, *(f"ＱＭ{number:010d}" for number in range(100))]
chance.shuffle(rows)
with Path("codes.csv").open("w", encoding="utf-8-sig", newline="") as export:
    export.write("门店,券码\r\n")
    export.writelines(f"南京东路,{code}\r\n" for code in rows)
with Path("yesterday.txt").open("w", encoding="utf-8") as earlier:
    earlier.writelines(f"{code}\n" for code in good[:1000])
