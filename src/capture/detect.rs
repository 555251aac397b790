use crate::image::NotCarried;
use crate::state::Reader;
use crate::state::table::Class;
pub(super) fn beside(_: &mut Reader, _: &[&'static Class]) -> Vec<NotCarried> {
    Vec::new()
}
