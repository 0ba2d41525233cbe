//! A table whose keys come in runs: what lies together is kept together, so that a record costs
//! the bytes of its cell and hardly more.

use std::collections::BTreeMap;

/// Cells of a page. A lonely key costs a whole one.
const PAGE_CELLS: u64 = 64;

/// Cells by number. Those never written are default.
#[derive(Debug, Default)]
pub(super) struct Pages<T> {
    pages: Vec<Box<[T]>>,
    /// Where the page of each number is.
    places: BTreeMap<u64, usize>,
    /// The page that was used last: mostly the next one, too.
    last: Option<(u64, usize)>,
}

impl<T: Copy + Default> Pages<T> {
    pub(super) fn get(&self, key: u64) -> T {
        let page = self.places.get(&(key / PAGE_CELLS));
        page.map(|place| self.pages[*place][within(key)]).unwrap_or_default()
    }

    pub(super) fn get_mut(&mut self, key: u64) -> &mut T {
        let number = key / PAGE_CELLS;
        let place = match self.last {
            Some((last, place)) if last == number => place,
            _ => {
                let pages = &mut self.pages;
                *self.places.entry(number).or_insert_with(|| {
                    pages.push((0..PAGE_CELLS).map(|_| T::default()).collect());
                    pages.len() - 1
                })
            }
        };
        self.last = Some((number, place));
        &mut self.pages[place][within(key)]
    }

    /// All cells of all pages by key, those never written among them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, T)> {
        self.places.iter().flat_map(|(number, place)| self.cells(*number, *place))
    }

    /// The cells from one key up to another, as far as there are pages.
    pub(super) fn range(&self, from: u64, to: u64) -> impl Iterator<Item = (u64, T)> {
        let places = self.places.range(from / PAGE_CELLS..=to / PAGE_CELLS);
        places
            .flat_map(|(number, place)| self.cells(*number, *place))
            .filter(move |(key, _)| (from..to).contains(key))
    }

    fn cells(&self, number: u64, place: usize) -> impl Iterator<Item = (u64, T)> {
        let first = number * PAGE_CELLS;
        // Inclusive: the last page ends with the greatest number there is.
        (first..=first + (PAGE_CELLS - 1)).zip(self.pages[place].iter().copied())
    }
}

fn within(key: u64) -> usize {
    usize::try_from(key % PAGE_CELLS).expect("less than the size of a page")
}
