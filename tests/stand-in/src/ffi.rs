//! Pointers as C callers hand them over. All that dereferences them is here.

use std::ffi::{CStr, c_char};

/// Where the caller wants a value or an array of values: null, or valid as the API documents.
#[repr(transparent)]
pub struct Out<T>(*mut T);

impl<T> Out<T> {
    pub fn is_null(&self) -> bool {
        self.0.is_null()
    }

    /// Stores `value`, or fails with `status` if there is nowhere to.
    pub fn put(&self, value: T, status: i32) -> Result<(), i32> {
        if self.0.is_null() {
            return Err(status);
        }
        // SAFETY: not null, so the caller vouches for it; unaligned, so that it need not be aligned
        unsafe { self.0.write_unaligned(value) };
        Ok(())
    }

    /// Stores all `values`; the caller has said that there is room.
    pub fn put_all(&self, values: &[T]) {
        if self.0.is_null() {
            return;
        }
        // SAFETY: not null, so the caller vouches for as many elements as were asked for
        unsafe { self.0.cast::<u8>().copy_from(values.as_ptr().cast(), size_of_val(values)) };
    }

    /// The `count` values that are there already.
    pub fn read(&self, count: usize) -> Vec<T>
    where
        T: Copy,
    {
        In(self.0.cast_const()).read(count).unwrap_or_default()
    }

    /// Seen as room for another type: attributes come as untyped arrays.
    pub fn cast<U>(&self) -> Out<U> {
        Out(self.0.cast())
    }
}

impl Out<c_char> {
    /// Stores `text` and a NUL, or nothing if they do not fit into `size` bytes.
    #[must_use]
    pub fn put_text(&self, text: &str, size: usize) -> bool {
        let fits = text.len() < size && !self.is_null();
        if fits {
            let bytes: Vec<c_char> = text.bytes().chain([0]).map(|b| b as c_char).collect();
            self.put_all(&bytes);
        }
        fits
    }
}

/// What the caller hands over to be read: null, or valid as the API documents.
#[repr(transparent)]
pub struct In<T>(*const T);

impl<T: Copy> In<T> {
    /// `None` if there is nothing.
    pub fn read(&self, count: usize) -> Option<Vec<T>> {
        if self.0.is_null() {
            return None;
        }
        // SAFETY: not null, so the caller vouches for `count` elements
        Some((0..count).map(|i| unsafe { self.0.add(i).read_unaligned() }).collect())
    }

    pub fn address(&self) -> *const T {
        self.0
    }
}

impl In<c_char> {
    /// The text up to its NUL; `None` if there is none, or not UTF-8.
    pub fn text(&self) -> Option<String> {
        if self.0.is_null() {
            return None;
        }
        // SAFETY: not null, so the caller vouches for a NUL at its end
        unsafe { CStr::from_ptr(self.0) }.to_str().ok().map(str::to_owned)
    }
}
