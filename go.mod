module tufboot

go 1.26
