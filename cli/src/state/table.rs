//! Columns of text: words to the left, numbers to the right.

use std::fmt::Write;

/// A table; the first row is its head.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|&name| name.to_owned()).collect()] }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Appends it as lines.
    pub(super) fn write(&self, to: &mut String) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cells = |column: usize| self.rows.iter().filter_map(move |row| row.get(column));
        let widths: Vec<usize> =
            (0..columns).map(|column| cells(column).map(|cell| cell.chars().count()).max().unwrap_or(0)).collect();
        let is_number = |cell: &&String| cell.chars().all(|c| c.is_ascii_digit() || matches!(c, ',' | '-'));
        let right: Vec<bool> = (0..columns).map(|column| cells(column).skip(1).all(|cell| is_number(&cell))).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width = widths[column];
                // Writing to memory does not fail.
                let _ = if right[column] { write!(line, "{cell:>width$}  ") } else { write!(line, "{cell:<width$}  ") };
            }
            to.push_str(line.trim_end());
            to.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_right_and_words_left() {
        let mut table = Table::new(&["NAME", "COUNT"]);
        table.row(vec!["ä".to_owned(), "1,000".to_owned()]);
        table.row(vec!["longer".to_owned(), "-".to_owned()]);
        let mut text = String::new();
        table.write(&mut text);
        assert_eq!(text, "NAME    COUNT\nä       1,000\nlonger      -\n");
    }
}
