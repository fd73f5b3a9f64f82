//! A store of orders with types instead of bytes: keys that sort as they do, values that serde knows, and an
//! index that changes in one batch with what it is of.

use isopach::{
    Db, ErrorKind, Result,
    typed::{AsKey, Key, KeyReader, Postcard, Typed},
};
use serde::{Deserialize, Serialize};
use std::{cmp::Reverse, error::Error};

/// A number of its own type, so that no other is taken for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct OrderId(u64);

impl AsKey<OrderId> for OrderId {
    fn encode_key(&self, out: &mut Vec<u8>) {
        self.0.encode_key(out);
    }
}

impl Key for OrderId {
    fn decode_key(from: &mut KeyReader<'_>) -> Result<OrderId> {
        u64::decode_key(from).map(OrderId)
    }
}

#[derive(PartialEq, Debug, Serialize, Deserialize)]
struct Order {
    customer: String,
    day: u32,
    items: Vec<(String, u16)>,
}

struct Orders {
    db: Db,
    orders: Typed<OrderId, Postcard<Order>>,
    /// Of each customer the newest first.
    by_customer: Typed<(String, Reverse<u32>, OrderId), ()>,
}

impl Orders {
    fn open(db: &Db) -> Result<Orders> {
        Ok(Orders {
            db: db.clone(),
            orders: Typed::new(db.keyspace("orders")?),
            by_customer: Typed::new(db.keyspace("by_customer")?),
        })
    }

    fn add(&self, id: OrderId, order: &Order) -> Result<()> {
        let mut batch = self.db.batch();
        self.orders.insert_in(&mut batch, &id, &Postcard(order))?;
        self.by_customer.insert_in(&mut batch, &(&*order.customer, Reverse(order.day), id), &())?;
        self.db.write(batch)?;
        Ok(())
    }

    /// The days and numbers of a customer's last orders.
    fn last_of(&self, customer: &str, count: usize) -> Result<Vec<(u32, OrderId)>> {
        let keys = self.by_customer.prefix((customer,)).keys().take(count);
        keys.map(|key| key.map(|(_, Reverse(day), id)| (day, id))).collect()
    }
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("isopach-typed-{}", std::process::id()));
    let db = Db::open(&dir)?;
    let orders = Orders::open(&db)?;

    for (id, customer, day) in
        [(1, "ada", 20), (2, "bob", 21), (3, "ada", 25), (4, "adam", 26), (5, "ada", 22)]
    {
        let order = Order { customer: customer.into(), day, items: vec![("book".into(), 1)] };
        orders.add(OrderId(id), &order)?;
    }
    for (day, OrderId(id)) in orders.last_of("ada", 2)? {
        println!("order {id} of day {day}");
    }
    assert_eq!(orders.last_of("ada", 2)?, [(25, OrderId(3)), (22, OrderId(5))]);
    let Postcard(order) = orders.orders.get(&OrderId(4))?.expect("it was added");
    assert_eq!(order.customer, "adam", "whose name is no part of ada's prefix");

    // Between the 21st, included, and the 25th: days are reversed, so the later one is the beginning.
    let (late, early) = (("ada", Reverse(24), OrderId(0)), ("ada", Reverse(21), OrderId(u64::MAX)));
    assert_eq!(orders.by_customer.range(late..=early).count(), 1);

    // Bytes that somebody else put there are an error, and it says which.
    orders.orders.raw().insert("not eight bytes", "no order")?;
    let error = orders.orders.iter().find_map(Result::err).expect("one key is none");
    assert_eq!(error.kind(), ErrorKind::Corruption);
    println!("{error}");

    drop(orders);
    db.close()?;
    Ok(std::fs::remove_dir_all(dir)?)
}
