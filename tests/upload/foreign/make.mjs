// Make the workbooks beside this file again: npm install exceljs@4.4.0 xlsx@0.18.5, then node make.mjs
// libreoffice.xlsx is exceljs.xlsx, opened and saved by LibreOffice 7.4: soffice --headless --convert-to xlsx
import ExcelJS from "exceljs";
import * as fs from "node:fs";
import * as XLSX from "xlsx";

export const texts = ["QM-0001", " QM ", "A&B<C>\"'", "券码\u{1f39f}", "A\tB", "line\nfeed", "=1+1", "00123", "1e5", "TRUE", "#N/A", "x005F_"];
const table = [["券码", "号"], ...texts.map((text, number) => [text, number]), [null, 12], ["QM-last", null]];

async function exceljs(book, save) {
  const sheet = book.addWorksheet("One");
  for (const row of table) {
    const added = sheet.addRow(row);
    if (row[0] === "00123") added.hidden = true;
    if (added.commit) added.commit();
  }
  await save();
}
const whole = new ExcelJS.Workbook();
await exceljs(whole, () => whole.xlsx.writeFile("exceljs.xlsx"));
for (const useSharedStrings of [true, false]) {
  const streamed = new ExcelJS.stream.xlsx.WorkbookWriter({filename: `exceljs-streamed-${useSharedStrings}.xlsx`, useSharedStrings});
  await exceljs(streamed, () => streamed.commit());
}
for (const bookSST of [true, false]) {
  const book = XLSX.utils.book_new();
  XLSX.utils.book_append_sheet(book, XLSX.utils.aoa_to_sheet(table), "One");
  fs.writeFileSync(`sheetjs-${bookSST}.xlsx`, XLSX.write(book, {type: "buffer", bookType: "xlsx", bookSST, compression: true}));
}
