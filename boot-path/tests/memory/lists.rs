//! Lists with a fixed amount of room.

use arrayvec::ArrayVec;
use boot_path::memory::list;

#[test]
fn values_come_where_they_belong() {
    let mut values = list::with_room(6);
    list::put_all(&mut values, [10, 20, 30].into_iter());
    list::insert(&mut values, 0, 5);
    list::insert(&mut values, 2, 15);
    list::insert(&mut values, 5, 40);
    assert_eq!(values, [5, 10, 15, 20, 30, 40]);
}

#[test]
#[should_panic = "a list has no room"]
fn one_too_many_is_noticed() {
    let mut values = list::with_room(2);
    for value in 0..=values.capacity() {
        list::put(&mut values, value);
    }
}

#[test]
fn a_full_one_stays_as_it_is() {
    let mut values = ArrayVec::<_, 3>::from_iter([10, 30]);
    list::try_insert(&mut values, 1, 20);
    assert_eq!(values[..], [10, 20, 30]);
    list::try_insert(&mut values, 1, 15);
    assert_eq!(values[..], [10, 20, 30]);
    values.pop();
    list::try_insert(&mut values, 3, 40); // behind the end
    assert_eq!(values[..], [10, 20]);
    list::try_insert(&mut values, 2, 40);
    assert_eq!(values[..], [10, 20, 40]);
}
