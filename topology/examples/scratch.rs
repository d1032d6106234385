//! scratch
use hwlocality::{Topology, topology::builder::BuildFlags, object::types::ObjectType};
fn dump(t:&Topology){
  println!("this_system {} allowed {} {}", t.is_this_system(), t.allowed_cpuset(), t.allowed_nodeset());
  for ty in [ObjectType::Package,ObjectType::NUMANode,ObjectType::L3Cache,ObjectType::L2Cache,ObjectType::Core,ObjectType::PU]{
    for o in t.objects_with_type(ty){ println!("  {ty} os={:?} li={} cpuset={:?} nodeset={:?} mem={} attr={:?}",o.os_index(),o.logical_index(),o.cpuset().map(|c|c.to_string()),o.nodeset().map(|c|c.to_string()),o.total_memory(),o.attributes());}
  }
}
fn main(){
  dump(&Topology::builder().with_flags(BuildFlags::INCLUDE_DISALLOWED).unwrap().build().unwrap());
  for s in std::env::args().skip(1){ println!("== {s}"); match Topology::builder().from_synthetic(&s){Err(e)=>println!("ERR {e:?}"),Ok(b)=>match b.with_flags(BuildFlags::INCLUDE_DISALLOWED).unwrap().build(){Ok(t)=>{dump(&t); if let Ok(x)=t.export_xml(hwlocality::topology::export::xml::XMLExportFlags::empty()){ println!("{}",x);} },Err(e)=>println!("BERR {e:?}")}}}
}
