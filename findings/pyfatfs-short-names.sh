#!/usr/bin/env bash
# A name whose extension has more than three letters has a short name that a number is part of, as the FAT specification
# has it, since it was cut: `a.longer` is A~1.LON. pyfatfs 1.1.0 cuts the extension and leaves the number out, so that the
# file is A.LON for whoever goes by short names, and a loader that looks for `a.lon` boots it. The next such file gets A~1.LON.
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
debian dosfstools 4.2-1 mtools 4.0.33-1+really4.0.32-1
python3 -m pip install --quiet --root-user-action=ignore --target modules pyfatfs==1.1.0
echo "package: pyfatfs 1.1.0"

truncate -s 40M disk.img
debian/sbin/mkfs.fat -F 16 disk.img >/dev/null
PYTHONPATH=modules python3 - <<'PY'
from pyfatfs.PyFatFS import PyFatFS
volume = PyFatFS("disk.img")
volume.writetext("/a.longer", "first")
volume.writetext("/a.longest", "second")
volume.close()
PY
short() { debian/usr/bin/mdir -i disk.img :: | awk -v name="$1" '$NF == name { print $1 "." $2 }'; }
expect "a.longer" A.LON "$(short a.longer)"
expect "a.longest" "A~1.LON" "$(short a.longest)"
expect "what is read as a.lon" first "$(debian/usr/bin/mtype -i disk.img ::/a.lon)"
