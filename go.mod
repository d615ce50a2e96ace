module github.com/culvertd/culvert

go 1.26
