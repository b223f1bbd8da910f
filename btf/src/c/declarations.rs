//! Single declarations, for reports and pages.

use super::names::Names;
use super::print::Printer;
use crate::TypeId;
use crate::error::Result;
use crate::read::Btf;

/// Writes types of one blob as C declares them, a line each.
pub struct Declarations<'b, 'a> {
    printer: Printer<'b, 'a>,
}

impl<'b, 'a> Declarations<'b, 'a> {
    /// Goes once over all names of the blob.
    ///
    /// # Errors
    /// What reading the blob may answer.
    pub fn new(btf: &'b Btf<'a>) -> Result<Self> {
        let pointer_size = btf.pointer_size().unwrap_or(8);
        let names = Names::new(btf, pointer_size)?;
        Ok(Self { printer: Printer::brief(btf, names, pointer_size) })
    }

    /// The declaration of `name` as this type: `struct list_head *name`, `int (*name)(void)`. Unnamed structs are written `struct {…}`. The name may
    /// be empty, and must be an identifier; what comes from the blob is made one.
    ///
    /// # Errors
    /// What reading the blob may answer, and types that contain each other too deep for C.
    pub fn line(&mut self, id: TypeId, name: &str) -> Result<String> {
        self.printer.line(id, name)
    }
}

impl std::fmt::Debug for Declarations<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Declarations").finish_non_exhaustive()
    }
}
